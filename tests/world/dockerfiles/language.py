"""Dockerfiles that use what the language has, each part of it."""

from __future__ import annotations

from tests.world.dockerfiles.case import ARCHIVE, Case

LANGUAGE = (
    Case(
        name="triggers",
        text="""\
FROM alpine AS base
ONBUILD ARG WHO=nobody
ONBUILD COPY app.txt /app/
ONBUILD RUN echo "for $WHO" > /app/who
ONBUILD WORKDIR /app
ENV BASE=1

FROM base
RUN pwd > where && cat who > copy
""",
        files={"app.txt": "app\n"},
        flags=("--build-arg", "WHO=me"),
        expected={"app/app.txt": "app\n", "app/copy": "for me\n", "app/where": "/app\n"},
        config={"WorkingDir": "/app"},
    ),
    Case(
        name="globs",
        text="""\
FROM alpine AS made
RUN mkdir -p /out/lib /out/bin && touch /out/lib/a.so /out/lib/b.so /out/lib/c.txt \\
    && ln -s a.so /out/lib/latest.so && echo tool > /out/bin/tool && chmod 750 /out/bin/tool
FROM alpine
COPY conf/?.conf /etc/one/
COPY conf/[a-b]*.conf conf/.hidden /etc/some/
COPY */nested/*.txt /nested/
COPY --from=made /out/lib/*.so /usr/local/lib/
COPY --from=made /out/b*/ /usr/local/bin/
COPY --from=made /out/ /all/
""",
        files={
            "conf/a.conf": "a\n",
            "conf/b.conf": "b\n",
            "conf/both.conf": "both\n",
            "conf/.hidden": "hidden\n",
            "x/nested/x.txt": "x\n",
            "y/nested/y.txt": "y\n",
            "y/nested/y.md": "no\n",
        },
        expected={
            "etc/one/a.conf": "a\n",
            "etc/some/both.conf": "both\n",
            "nested/y.txt": "y\n",
            "usr/local/bin/tool": (0o750, 0, 0, "tool\n"),
            "all/lib/latest.so": "->a.so",
        },
        absent=("etc/one/both.conf", "nested/y.md"),
    ),
    Case(
        name="links",
        text="""\
FROM alpine
COPY link-to-file /copied
COPY link-to-directory /directory
COPY . /all/
RUN mkdir /target && ln -s /target /place && ln -s /nowhere/yet /dangling
COPY file /place/
COPY directory /place/inner
ADD file /dangling/file
""",
        files={
            "file": "file\n",
            "directory/inside": "inside\n",
            "directory/up": "->../file",
            "link-to-file": "->file",
            "link-to-directory": "->directory",
            "broken": "->none",
            ".dockerignore": "Dockerfile\n",
        },
        expected={
            "copied": "file\n",
            "directory/inside": "inside\n",
            "all/link-to-file": "->file",
            "all/broken": "->none",
            "target/file": "file\n",
            "target/inner/up": "->../file",
        },
    ),
    Case(
        name="owners",
        text="""\
FROM alpine AS made
RUN addgroup -g 600 group && adduser -D -u 500 -G group someone \\
    && mkdir /made && echo 1 > /made/own && chown someone:group /made/own && chmod 2755 /made
FROM alpine
RUN addgroup -g 70 group && adduser -D -u 77 -G group someone
COPY --from=made /made /kept/
COPY --from=made --chown=someone:group /made /given/
COPY --chown=someone f /by-user
COPY --chown=:group f /by-group
COPY --chown=123 f /by-number
COPY --chown=someone:99 tree /tree/
COPY --chown=123:456 --chmod=0640 f /new/directory/file
ADD --chown=someone:group archive.tar.gz /unpacked/
""",
        files={"f": "f\n", "tree/sub/x*": "x\n", "archive.tar.gz": ARCHIVE},
        expected={
            "by-user": (0o644, 77, 70, "f\n"),
            "by-number": (0o644, 123, 123, "f\n"),
            "tree/sub/x": (0o755, 77, 99, "x\n"),
            "new/directory/file": (0o640, 123, 456, "f\n"),
        },
        otherwise={"unpacked/inside/file": "--chown is for what an archive has as well"},
    ),
    Case(
        name="stages",
        text="""\
ARG FROM_HERE=alpine
FROM ${FROM_HERE} AS first
RUN echo first > /first
FROM alpine AS second
COPY --from=0 /first /second
RUN exit 0
FROM alpine AS not-needed
RUN exit 1
FROM second AS third
COPY --from=first /first /again
ENV THIRD=3
FROM alpine
COPY --from=third /second /again /from-third/
COPY --from=second /second /from-second
""",
        expected={"from-third/second": "first\n", "from-second": "first\n"},
        absent=("second",),
    ),
    Case(
        name="variables",
        text="""\
FROM alpine
ARG NAME=name
ARG PORT=80
ENV ROOT=/srv/$NAME FILE=a.txt EMPTY= QUOTED="a \\"b\\" \\$c" SINGLE='a $NAME'
ENV CHAIN=$ROOT/x NEXT=${ROOT}-y
ENV CHAIN=changed KEPT=$CHAIN
WORKDIR $ROOT
COPY $FILE ${NAME}.copy
EXPOSE $PORT/tcp 53/udp
EXPOSE 8000-8002
VOLUME $ROOT/data
USER ${NAME:+65534}:65534
LABEL name=$NAME "with space"="${ROOT} here" empty=""
STOPSIGNAL ${EMPTY:-SIGUSR1}
RUN echo "$KEPT $NEXT $(id -u)" > /tmp/seen
""",
        files={"a.txt": "a\n"},
        expected={
            "srv/name/name.copy": "a\n",
            "tmp/seen": (0o644, 65534, 65534, "/srv/name/x /srv/name-y 65534\n"),
        },
        config={"User": "65534:65534", "StopSignal": "SIGUSR1", "WorkingDir": "/srv/name"},
        otherwise={
            "ExposedPorts": "a range is each of its ports, as Docker has it",
            "srv/name/data": "a volume's directory is made where it is used, as by BuildKit",
        },
    ),
    Case(
        name="commands",
        text="""\
FROM alpine AS shell
SHELL ["/bin/sh", "-exc"]
ENTRYPOINT exec top -b
CMD ["ignored"]
HEALTHCHECK --interval=1m30s --retries=5 --start-period=500ms CMD wget -q localhost || exit 1
FROM shell AS none
HEALTHCHECK NONE
ENTRYPOINT []
FROM none
CMD echo "$HOME"  &&  true
MAINTAINER Some One <some@example.com>
RUN ["/bin/sh", "-c", "echo exec > /form"]
RUN echo "$0" > /zero
""",
        expected={"form": "exec\n", "zero": "/bin/sh\n"},
        config={
            "Shell": ["/bin/sh", "-exc"],
            "Cmd": ["/bin/sh", "-exc", 'echo "$HOME"  &&  true'],
            "Healthcheck": {"Test": ["NONE"]},
        },
        otherwise={"Cmd": "SHELL goes on in stages that begin with this one, as Docker has it"},
    ),
    Case(
        name="ignored",
        text="""\
FROM alpine
COPY . /all/
COPY docs /docs
""",
        files={
            ".dockerignore": (
                "# what is left out\n\n*.log\n**/*.tmp\n/build/\ndocs/*\n!docs/kept*\nsecret?\n"
                "a/**/z\n!a/b/c/z\n.git\n"
            ),
            "a.log": "",
            "sub/b.log": "b\n",
            "sub/deep/c.tmp": "",
            "d.tmp": "",
            "build/out": "",
            "sub/build/out": "out\n",
            "docs/left": "",
            "docs/kept.md": "kept\n",
            "secret1": "",
            "secrets/x": "x\n",
            "a/z": "",
            "a/b/z": "",
            "a/b/c/z": "z\n",
            ".git/config": "",
        },
        expected={
            "all/sub/b.log": "b\n",
            "all/sub/build/out": "out\n",
            "all/a/b/c/z": "z\n",
            "docs/kept.md": "kept\n",
        },
        absent=("all/a.log", "all/sub/deep/c.tmp", "all/build", "docs/left", "all/.git"),
    ),
    Case(
        name="lines",
        text="""\
# escape=`
# just a comment

FROM alpine
RUN echo one `
    # amid it

    two > C:\\path && `
    cat C:\\path > /seen
ENV A=b `
    C=d\\e
COPY a.txt `
     /x/
LABEL one=1 `
      two="2 3"
""",
        files={"a.txt": "a\n"},
        expected={"seen": "one two\n", "x/a.txt": "a\n"},
        otherwise={"Env": "a backslash is none but a character where the escape is another"},
    ),
    Case(
        name="special",
        text="""\
FROM alpine
RUN mkdir -m 1777 /sticky && mkdir -m 2750 /group && touch /group/f && chmod 6711 /group/f \\
    && mkfifo -m 620 /fifo && ln /group/f /hard && ln -s /group/f /soft
RUN rm -rf /group && mkdir /group && echo new > /group/g && chown -R 5:6 /group
RUN mv /sticky /moved && rm /hard && touch -d 2001-02-03 /moved/old
RUN rm -rf /srv /opt && mkdir -p /opt/app
""",
        expected={"group/g": (0o644, 5, 6, "new\n"), "soft": "->/group/f"},
        absent=("sticky", "hard", "srv", "group/f"),
    ),
    Case(
        name="package-manager",
        text="""\
FROM alpine
RUN <<EOF
set -eu
apk --no-network --quiet info > /packages
printf '#!/bin/sh\\necho installed\\n' > /usr/bin/installed
chmod +x /usr/bin/installed
rm -rf /var/cache/apk/* /tmp/*
EOF
RUN --mount=type=cache,target=/var/cache/apk,id=apk,sharing=locked touch /var/cache/apk/index
RUN --mount=type=cache,target=/var/cache/apk,id=apk test -e /var/cache/apk/index
RUN installed > /said
""",
        expected={"usr/bin/installed": (0o755, 0, 0, "#!/bin/sh\necho installed\n")},
        absent=("var/cache/apk/index",),
    ),
    Case(
        name="parents",
        text="""\
FROM alpine AS made
RUN mkdir -p /a/b/c /a/d && chmod 2750 /a/b && echo 1 > /a/b/c/one && echo 2 > /a/d/two
FROM alpine
COPY --parents x/y/file x/z/ /with/
COPY --parents ./x/./y/*le /without
COPY --from=made --parents /a/./b/c/one /a/d /stage/
COPY --parents **/other /deep/
COPY --from=made --parents /a/./**/o* /**/two /deep/stage/
""",
        files={"x/y/file": "file\n", "x/z/deep/other": "other\n"},
        expected={
            "with/x/y/file": "file\n",
            "with/x/z/deep/other": "other\n",
            "without/y/file": "file\n",
            "stage/b": (0o2750, 0, 0, ""),
            "stage/b/c/one": "1\n",
            "stage/a/d/two": "2\n",
            "deep/x/z/deep/other": "other\n",
            "deep/stage/b/c/one": "1\n",
            "deep/stage/a/d/two": "2\n",
        },
        absent=("without/x", "stage/a/b", "deep/x/y"),
    ),
    Case(
        name="newest",
        text="""\
FROM alpine AS Seed
RUN <<SCRIPT
#!/bin/sh
echo "by $0" > /script
SCRIPT
RUN --mount=type=secret,id=token,env=TOKEN echo -n "$TOKEN" | wc -c > /length
RUN mkdir -p /seed/sub && echo seed > /seed/sub/file
FROM alpine
COPY --chmod=u=rwX,go=rX tree /tree/
COPY --chmod=go-r,+x tree/plain /plain
RUN --mount=type=cache,target=/c,id=seeded,from=seed,source=/seed cp -r /c /seen && echo x > /c/x
RUN --mount=type=cache,target=/c,id=seeded,from=seed,source=/seed cp /c/x /kept
RUN --mount=type=cache,target=/c,id=seeded test ! -e /c/sub
COPY --from=SEED /script /length /of-seed/
""",
        files={"tree/plain": "p\n", "tree/sub/program*": "x\n", "token": "s3cret"},
        flags=("--secret", "id=token,src=token"),
        expected={
            "tree/plain": (0o644, 0, 0, "p\n"),
            "tree/sub/program": (0o755, 0, 0, "x\n"),
            "plain": (0o711, 0, 0, "p\n"),
            "seen/sub/file": "seed\n",
            "kept": "x\n",
            "of-seed/script": "by /dev/pipes/script\n",
            "of-seed/length": "6\n",
        },
        absent=("c", "dev/pipes"),
    ),
)
