"""Instructions of a Dockerfile, as ``commit --change`` takes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.images.archives.instructions import apply, quoted
from cgagent.images.build.syntax import Instruction

SHELL = ("/bin/sh", "-c")
PORTS = {port: {} for port in ("53/udp", "80/tcp", "8000/tcp", "8001/tcp")}


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ({}, ["CMD echo hi"], {"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        ({"Shell": ["/bin/ash"]}, ["cmd x"], {"Shell": ["/bin/ash"], "Cmd": ["/bin/ash", "x"]}),
        ({}, ['CMD ["a", "b c"]'], {"Cmd": ["a", "b c"]}),
        ({}, ["CMD [a]"], {"Cmd": ["/bin/sh", "-c", "[a]"]}),
        ({"Cmd": ["x"]}, ['ENTRYPOINT ["e"]'], {"Entrypoint": ["e"]}),
        ({}, ["CMD x", 'ENTRYPOINT ["y"]'], {"Cmd": [*SHELL, "x"], "Entrypoint": ["y"]}),
        ({"Env": ["A=0", "B=1"]}, ["ENV A=2 C='3 4'"], {"Env": ["A=2", "B=1", "C=3 4"]}),
        ({}, ["ENV A some words"], {"Env": ["A=some words"]}),
        ({}, ["ENV A=b\\ c D="], {"Env": ["A=b c", "D="]}),
        ({}, ['LABEL a.b="c d" e=f'], {"Labels": {"a.b": "c d", "e": "f"}}),
        ({"Labels": {"x": "y"}}, ["LABEL a=b"], {"Labels": {"x": "y", "a": "b"}}),
        ({}, ["EXPOSE 80 53/udp 8000-8001"], {"ExposedPorts": PORTS}),
        ({}, ["VOLUME /a /b"], {"Volumes": {"/a": {}, "/b": {}}}),
        ({}, ['VOLUME ["/a b"]'], {"Volumes": {"/a b": {}}}),
        ({}, ["USER me:us"], {"User": "me:us"}),
        ({"WorkingDir": "/a"}, ["WORKDIR b/../c"], {"WorkingDir": "/a/c"}),
        ({"WorkingDir": "/a"}, ["WORKDIR /d"], {"WorkingDir": "/d"}),
        ({}, ["ONBUILD RUN x"], {"OnBuild": ["RUN x"]}),
        ({}, ["STOPSIGNAL SIGRTMIN+3"], {"StopSignal": "SIGRTMIN+3"}),
    ],
)
def test_what_instructions_change(before, changes, after):
    run = dict(before)
    apply(run, changes)
    assert run == after


@given(st.text(st.characters(exclude_characters="\0\n\r", codec="utf-8")))
def test_a_quoted_word_is_taken_as_it_is(value):
    run = {"Env": ["HOME=/root"]}
    apply(run, [f"ENV A={quoted(value)} B=1", f"LABEL {quoted('a b')}={quoted(value)}"])
    assert run["Env"] == ["HOME=/root", f"A={value}", "B=1"]
    assert run["Labels"] == {"a b": value}


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_a_quoted_word_of_a_parsed_instruction_may_have_lines(value):
    run = {}
    apply(run, [Instruction(name="ENV", arguments=f"A={quoted(value)}"), "LABEL b=1"])
    assert run == {"Env": [f"A={value}"], "Labels": {"b": "1"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("RUN x", "RUN is none of CMD, ENTRYPOINT"),
        ("", "it is no instruction"),
        ("CMD", "CMD requires at least one argument"),
        ("ENV A", "'A' is not NAME=VALUE"),
        ("ENV A=1 B", "can't find = in 'B'"),
        ("ENV A='1", "a single quote is not closed"),
        ("EXPOSE x", "invalid containerPort: x"),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    ],
)
def test_what_is_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        apply({}, [change])
