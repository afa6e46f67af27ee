"""Dockerfiles of services as people write them."""

from __future__ import annotations

from tests.world.dockerfiles.case import ARCHIVE, Case

SERVICES = (
    Case(
        name="static-binary",
        text="""\
ARG BASE=alpine
FROM ${BASE} AS build
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN cat go.mod go.sum > /modules
COPY . .
RUN --mount=type=cache,target=/root/.cache/go-build \\
    mkdir -p /out && printf 'app %s\\n' "$VERSION" > /out/app && chmod 0755 /out/app

FROM scratch
COPY --from=build /out/app /app
COPY --from=build --chown=65532:65532 /modules /etc/modules
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/app"]
""",
        files={"go.mod": "module x\n", "go.sum": "sum\n", "main.go": "package main\n"},
        flags=("--build-arg", "VERSION=1.2"),
        expected={
            "app": (0o755, 0, 0, "app 1.2\n"),
            "etc/modules": (0o644, 65532, 65532, "module x\nsum\n"),
        },
        absent=("src", "out"),
        config={
            "User": "65532:65532",
            "ExposedPorts": {"8080/tcp": {}},
            "Entrypoint": ["/app"],
        },
    ),
    Case(
        name="python-service",
        text="""\
# syntax=docker/dockerfile:1
FROM alpine
ENV PYTHONUNBUFFERED=1 \\
    APP_HOME=/srv/app
RUN addgroup -g 1000 app && adduser -D -u 1000 -G app app
WORKDIR $APP_HOME
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \\
    sed 's/^/installed /' requirements.txt > installed
COPY --chown=app:app src/ ./src/
USER app
HEALTHCHECK --interval=10s --timeout=3s --retries=2 CMD ["true"]
CMD ["python", "-m", "src"]
""",
        files={"requirements.txt": "flask\n", "src/__init__.py": "", "src/__main__.py": "1\n"},
        expected={
            "srv/app/installed": "installed flask\n",
            "srv/app/src/__main__.py": (0o644, 1000, 1000, "1\n"),
            "srv/app/requirements.txt": (0o644, 0, 0, "flask\n"),
        },
        absent=("root/.cache/pip/x",),
        config={
            "User": "app",
            "WorkingDir": "/srv/app",
            "Cmd": ["python", "-m", "src"],
            "Healthcheck": {
                "Test": ["CMD", "true"],
                "Interval": 10**10,
                "Timeout": 3 * 10**9,
                "Retries": 2,
            },
        },
    ),
    Case(
        name="node-service",
        text="""\
FROM alpine AS deps
WORKDIR /app
COPY package*.json ./
RUN mkdir -p node_modules/left-pad && cp package.json node_modules/left-pad/

FROM deps AS build
COPY . .
RUN mkdir dist && cat index.js > dist/index.js

FROM alpine
WORKDIR /app
COPY --from=deps /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
CMD node dist/index.js
""",
        files={
            "package.json": "{}\n",
            "package-lock.json": "{}\n",
            "index.js": "run()\n",
            "node_modules/stale/x": "no\n",
            ".dockerignore": "node_modules\n*.md\n!README.md\n",
            "README.md": "read\n",
            "OTHER.md": "do not\n",
        },
        expected={
            "app/dist/index.js": "run()\n",
            "app/node_modules/left-pad/package.json": "{}\n",
        },
        absent=("app/node_modules/stale", "app/index.js"),
        config={"Cmd": ["/bin/sh", "-c", "node dist/index.js"], "WorkingDir": "/app"},
    ),
    Case(
        name="packages",
        text="""\
FROM alpine
SHELL ["/bin/ash", "-eo", "pipefail", "-c"]
RUN set -ex; \\
    # what a package manager leaves
    mkdir -p /var/lib/pkg/lists; \\
    echo big > /var/lib/pkg/lists/index; \\
    echo tool > /usr/local/bin/tool; chmod 4755 /usr/local/bin/tool; \\
    rm -rf /var/lib/pkg/lists
RUN rm /etc/motd && ln -s ../etc/hostname /etc/motd && mkfifo /run/pipe
VOLUME ["/data", "/logs"]
STOPSIGNAL SIGINT
LABEL org.example.vendor="Some One" version='1.0' multi="a \\
b"
""",
        expected={
            "usr/local/bin/tool": (0o4755, 0, 0, "tool\n"),
            "etc/motd": "->../etc/hostname",
        },
        absent=("var/lib/pkg/lists",),
        config={
            "Volumes": {"/data": {}, "/logs": {}},
            "StopSignal": "SIGINT",
            "Labels": {"org.example.vendor": "Some One", "version": "1.0", "multi": "a b"},
            "Shell": ["/bin/ash", "-eo", "pipefail", "-c"],
        },
    ),
    Case(
        name="heredocs",
        text="""\
FROM alpine
ARG NAME=world
RUN <<EOF
set -e
echo "hello $NAME" > /greeting
cat /greeting /greeting > /twice
EOF
COPY <<nginx.conf <<'plain' /etc/conf/
server $NAME;
nginx.conf
literal $NAME
plain
COPY --chmod=0700 <<END /entry.sh
#!/bin/sh
exec "\\$@"
END
""",
        expected={
            "greeting": "hello world\n",
            "twice": "hello world\nhello world\n",
            "etc/conf/nginx.conf": (0o644, 0, 0, "server world;\n"),
            "etc/conf/plain": "literal $NAME\n",
            "entry.sh": (0o700, 0, 0, '#!/bin/sh\nexec "$@"\n'),
        },
        otherwise={"entry.sh": "an escaped dollar in a heredoc is a dollar, as Docker has it"},
    ),
    Case(
        name="secrets",
        text="""\
FROM alpine
RUN --mount=type=secret,id=token,target=/root/.token,mode=0400 \\
    test "$(cat /root/.token)" = s3cret && stat -c %a /root/.token > /mode
RUN --mount=type=secret,id=missing test ! -e /run/secrets/missing
""",
        flags=("--secret", "id=token,src=token.txt"),
        files={"token.txt": "s3cret", ".dockerignore": "token.txt\n"},
        expected={"mode": "400\n"},
        absent=("root/.token", "run/secrets"),
    ),
    Case(
        name="mounts",
        text="""\
FROM alpine AS tools
RUN mkdir /tools && echo '#!/bin/sh' > /tools/t && chmod +x /tools/t
FROM alpine
RUN --mount=target=/ctx cat /ctx/sub/a > /from-context
RUN --mount=type=bind,source=sub,target=/src,rw echo more >> /src/a && cat /src/a > /changed
RUN --mount=from=tools,source=/tools,target=/opt/tools /opt/tools/t && ls /opt/tools > /listed
RUN --mount=type=tmpfs,target=/scratch touch /scratch/x
RUN --mount=type=bind,source=sub/a,target=/file cat /file > /from-file
""",
        files={"sub/a": "a\n"},
        expected={
            "from-context": "a\n",
            "changed": "a\nmore\n",
            "listed": "t\n",
            "from-file": "a\n",
        },
        absent=("ctx", "src/a", "opt/tools/t", "scratch", "file"),
    ),
    Case(
        name="copies",
        text="""\
FROM alpine
RUN mkdir -p /real && ln -s /real /link
WORKDIR /w
COPY a.txt renamed.txt
COPY a.txt b.txt dir/
COPY tree /tree
COPY tree/ /other/
COPY *.txt /globbed/
COPY a.txt /link/through
COPY --chmod=600 --chown=7:8 tree /owned/
COPY ["with space.txt", "/spaced/"]
COPY --exclude=*.txt . /filtered/
COPY tree/inner/.. /up/
""",
        files={
            "a.txt": "a\n",
            "b.txt": "b\n",
            "with space.txt": "s\n",
            "tree/x*": "x\n",
            "tree/inner/y": "y\n",
        },
        expected={
            "w/renamed.txt": "a\n",
            "w/dir/b.txt": "b\n",
            "tree/x": (0o755, 0, 0, "x\n"),
            "other/inner/y": "y\n",
            "globbed/a.txt": "a\n",
            "globbed/b.txt": "b\n",
            "real/through": "a\n",
            "owned/x": (0o600, 7, 8, "x\n"),
            "spaced/with space.txt": "s\n",
            "filtered/tree/x": "x\n",
            "up/x": "x\n",
        },
        absent=("w/a.txt", "globbed/tree", "filtered/a.txt"),
    ),
    Case(
        name="arguments",
        text="""\
ARG TAG=latest
FROM alpine:${TAG}
ARG TAG
ARG EMPTY
ARG GIVEN=default
ARG TARGETARCH
ENV FROM_ARG=${GIVEN:+set} DEFAULTED=${EMPTY:-none} PATH=/opt/bin:$PATH \\
    TRIMMED=${GIVEN#pre} QUOTED='$GIVEN'
ENV OLD style value
RUN echo "$TAG|$GIVEN|$FROM_ARG|$DEFAULTED|$TRIMMED|$QUOTED|$OLD" > /seen
WORKDIR /a
WORKDIR b/${GIVEN}
LABEL arch=${TARGETARCH:?needed}x
""",
        flags=("--build-arg", "GIVEN=prefix"),
        expected={"seen": "latest|prefix|set|none|fix|$GIVEN|style value\n"},
        config={"WorkingDir": "/a/b/prefix"},
        otherwise=dict.fromkeys(("a", "a/b", "a/b/prefix"), "WORKDIR makes it, as Docker has it"),
    ),
    Case(
        name="add",
        text="""\
FROM alpine
ADD archive.tar.gz /unpacked/
ADD plain.txt /added/
ADD --chown=3:4 archive.tar.gz /owned/
COPY archive.tar.gz /copied/
""",
        files={"plain.txt": "p\n", "archive.tar.gz": ARCHIVE},
        expected={
            "unpacked/inside/file": (0o640, 0, 0, "packed\n"),
            "added/plain.txt": "p\n",
            "owned/inside": (0o755, 3, 4, ""),
            "owned/inside/file": (0o640, 3, 4, "packed\n"),
        },
        absent=("unpacked/archive.tar.gz",),
        otherwise={"owned/inside/file": "--chown is for what an archive has as well"},
    ),
    Case(
        name="users",
        text="""\
FROM alpine
RUN adduser -D -u 1234 someone && mkdir /home/someone/w && chown someone /home/someone/w
USER someone
WORKDIR /home/someone/w
RUN id -u > uid && touch made
COPY --chown=someone f ./
USER root
RUN id -u > /root/uid
""",
        files={"f": "f\n"},
        expected={
            "home/someone/w/uid": (0o644, 1234, 1234, "1234\n"),
            "home/someone/w/f": (0o644, 1234, 1234, "f\n"),
            "root/uid": "0\n",
        },
        config={"User": "root"},
    ),
    Case(
        name="layers",
        text="""\
FROM alpine
RUN mkdir -p /d/sub && echo 1 > /d/one && echo 2 > /d/sub/two && ln /d/one /d/hard
RUN rm -rf /d/sub && mkdir /d/sub && echo 3 > /d/sub/three
RUN rm /d/one && mv /d/hard /d/moved
RUN rm -rf /d/sub && echo now-a-file > /d/sub
RUN true
""",
        expected={"d/moved": "1\n", "d/sub": "now-a-file\n"},
        absent=("d/one", "d/hard", "d/sub/three"),
    ),
)
