"""RUN, COPY and ADD, and instructions about an image's configuration."""

import pytest

from cgagent.errors import InvalidInputError
from cgagent.images.build import commands, configuration, keys
from cgagent.images.build.runmounts import RunMount
from cgagent.images.build.syntax import parse

SHELL = ("/bin/sh", "-c")


def one(text):
    return parse(text.encode()).instructions[0]


def run(text, **variables):
    return commands.run(one(text), SHELL, variables, "\\")


def copy(text, directory="/work", **variables):
    return commands.copy(one(text), directory, variables, "\\")


def test_forms_of_run():
    assert run("RUN a b").args == (*SHELL, "a b")
    assert run('RUN ["a", "b c"]').args == ("a", "b c")
    assert run("RUN <<X\na\nb\nX").args == (*SHELL, "a\nb\n")
    assert run("RUN cat <<X > /y\na\nX").args == (*SHELL, "cat <<X > /y\na\nX")
    script = run("RUN <<X\n#!/bin/python\nprint(1)\nX")
    assert (script.args, script.script) == ((commands.SCRIPT,), "#!/bin/python\nprint(1)\n")


def test_mounts():
    found = run(
        "RUN --mount=target=/src --mount=type=cache,dst=$d,id=c,sharing=locked,mode=0700,uid=5 "
        "--mount=type=secret,id=k,env=KEY --mount=type=secret,id=k,required,mode=0440 "
        "--mount=type=tmpfs,target=/t,size=1m --mount=type=bind,from=b,source=/x,target=/y,rw x",
        d="/cache",
    )
    assert found.mounts == (
        RunMount(type="bind", target="/src", read_only=True),
        RunMount(type="cache", target="/cache", id="c", sharing="locked", mode=0o700, uid=5),
        RunMount(type="secret", target="", id="k", env="KEY"),
        RunMount(type="secret", target="/run/secrets/k", id="k", required=True, mode=0o440),
        RunMount(type="tmpfs", target="/t", size_bytes=1 << 20),
        RunMount(type="bind", target="/y", source="/x", origin="b"),
    )


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("x", "/work/x"),
        ("/x", "/x"),
        (".", "/work/"),
        ("./", "/work/"),
        ("..", "/"),
        ("/", "/"),
        ("a/../b/", "/work/b/"),
        ("$d/y", "/v/y"),
        ("//x", "/x"),
    ],
)
def test_where_files_go(target, found):
    assert copy(f"COPY a {target}", d="/v").target == found


def test_what_is_copied():
    found = copy('COPY --chown=$u:2 --chmod=0640 --link --from=s ["a b", "c$u", "d/"]', u="1")
    assert found.sources == ("a b", "c1")
    assert (found.chown, found.chmod, found.link, found.origin) == ("1:2", 0o640, True, "s")
    here = copy("COPY <<A <<'B' c /x/\n$v \"q\"\nA\n$v\nB", v="1")
    assert here.sources == ("c",)
    assert [f.content for f in here.files] == ['1 "q"\n', "$v\n"]


def test_urls_are_of_add_alone():
    assert copy("ADD https://example.com/a b /x/").urls == ("https://example.com/a",)
    assert copy("COPY https://example.com/a b /x/").urls == ()


@pytest.mark.parametrize(
    ("before", "line", "after"),
    [
        ({}, "ENV A=$v B='c d' E=$A", {"Env": ["A=1 2", "B=c d", "E="]}),
        ({"Env": ["A=0"]}, "ENV A some $v", {"Env": ["A=some 1 2"]}),
        ({}, 'LABEL a.b="$v"', {"Labels": {"a.b": "1 2"}}),
        ({}, "EXPOSE $v 53/udp", {"ExposedPorts": {"1/tcp": {}, "2/tcp": {}, "53/udp": {}}}),
        ({}, "CMD echo $v", {"Cmd": [*SHELL, "echo $v"]}),
        (
            {"Shell": ["a", "b"]},
            "ENTRYPOINT x",
            {"Shell": ["a", "b"], "Entrypoint": ["a", "b", "x"]},
        ),
        ({}, 'SHELL ["a", "b"]', {"Shell": ["a", "b"]}),
        ({"WorkingDir": "/a"}, "WORKDIR b/$w", {"WorkingDir": "/a/b/w"}),
        ({}, "VOLUME $w /y", {"Volumes": {"w": {}, "/y": {}}}),
        ({}, 'VOLUME ["/a b"]', {"Volumes": {"/a b": {}}}),
        ({}, "USER $w", {"User": "w"}),
        ({}, "STOPSIGNAL 9", {"StopSignal": "9"}),
        ({}, "ONBUILD RUN <<A\nx\nA", {"OnBuild": ["RUN <<A\nx\nA"]}),
        ({}, "HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            {},
            "HEALTHCHECK --interval=1m30s --retries=3 CMD x y",
            {
                "Healthcheck": {
                    "Test": ["CMD-SHELL", "x y"],
                    "Interval": 90 * 10**9,
                    "Retries": 3,
                }
            },
        ),
    ],
)
def test_settings(before, line, after):
    settings = dict(before)
    configuration.apply(settings, one(line), {"v": "1 2", "w": "w"}, "\\")
    assert settings == after


@pytest.mark.parametrize("line", ["ENV A", "ENV A=1 B", "ENV A='", "EXPOSE x", "EXPOSE 70000"])
def test_settings_that_are_refused(line):
    with pytest.raises(InvalidInputError, match="line 1"):
        configuration.apply({}, one(line), {}, "\\")


def test_keys_differ_by_what_a_step_is_made_of():
    base = keys.of_base("sha256:1")
    assert base != keys.of_base("sha256:2")
    first = run("RUN --mount=type=bind,target=/x a")
    known = {
        keys.of_run(base, first, {}, "", {"/x": "1"}),
        keys.of_run(base, first, {}, "", {"/x": "2"}),
        keys.of_run(base, first, {"v": "1"}, "", {"/x": "1"}),
        keys.of_run(base, first, {}, "none", {"/x": "1"}),
        keys.of_run(base, run("RUN a"), {}, "", {}),
        keys.of_run(keys.of_base("sha256:2"), first, {}, "", {"/x": "1"}),
        keys.of_copy(base, copy("COPY a b"), ("1",)),
        keys.of_copy(base, copy("COPY a b"), ("2",)),
        keys.of_copy(base, copy("COPY --chmod=1 a b"), ("1",)),
        keys.of_copy(base, copy("ADD a b"), ("1",)),
    }
    assert len(known) == 10
    assert keys.of_copy(base, copy("COPY a b"), ("1",)) in known


def test_modes_and_parents_of_a_copy():
    assert copy("COPY --chmod=0755 a b").chmod == 0o755
    assert copy("COPY --chmod=u+x,go= a b").chmod == "u+x,go="
    assert copy("COPY --chmod=$M a b", M="a+$").chmod == "a+$"  # the files' writer refuses it
    assert copy("COPY a b").chmod is None
    with_parents = copy("COPY --parents x/./y /dir")
    assert (with_parents.parents, with_parents.target) == (True, "/dir/")


def test_what_add_fetches():
    found = copy("ADD f https://h/a.tar https://h/r.git#v1:sub git://h/s http://h/t.git /x/")
    assert found.local == ("f",)
    assert found.urls == ("https://h/a.tar",)
    assert [(one.url, one.ref, one.directory) for one in found.repositories] == [
        ("https://h/r.git", "v1", "sub"),
        ("git://h/s", "", ""),
        ("http://h/t.git", "", ""),
    ]
    assert copy("COPY a.git git://h/s /x/").local == ("a.git", "git://h/s")
