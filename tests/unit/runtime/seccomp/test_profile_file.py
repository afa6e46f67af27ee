import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.runtime.seccomp import default as seccomp
from cgagent.runtime.seccomp import profile_file as seccomp_file

ALLOW = "SCMP_ACT_ALLOW"
_START = '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], '
MACHINE = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}[
    os.uname().machine
]


def resolve(capabilities=(), **profile):
    text = json.dumps({"defaultAction": "SCMP_ACT_ERRNO", **profile})
    return seccomp_file.resolve(text, capabilities)


def rule(name, **conditions):
    return {"names": [name], "action": ALLOW, **conditions}


@pytest.mark.parametrize(
    ("conditions", "applies"),
    [
        ({}, True),
        ({"includes": {}, "excludes": None}, True),
        ({"includes": {"caps": ["CAP_KILL"]}}, True),
        ({"includes": {"caps": ["CAP_KILL", "CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_KILL"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"includes": {"arches": [MACHINE[0]]}}, True),
        ({"includes": {"arches": ["s390x"]}}, False),
        ({"excludes": {"arches": ["s390x"]}}, True),
        ({"includes": {"minKernel": "3.0"}}, True),
        ({"includes": {"minKernel": "99.0"}}, False),
        ({"excludes": {"minKernel": "3.0"}}, False),
    ],
)
def test_conditions(conditions, applies):
    found = resolve(("CAP_KILL",), syscalls=[rule("kill", **conditions)])
    assert found["syscalls"] == ([rule("kill")] if applies else [])


def test_dockers_map_of_architectures():
    entry = {"architecture": MACHINE[1], "subArchitectures": ["SCMP_ARCH_X86"]}
    assert resolve(archMap=[entry])["architectures"] == [MACHINE[1], "SCMP_ARCH_X86"]
    assert resolve(architectures=["SCMP_ARCH_ARM"])["architectures"] == ["SCMP_ARCH_ARM"]


def test_an_older_rule_of_one_name():
    found = resolve(syscalls=[{"name": "kill", "action": ALLOW}])
    assert found["syscalls"] == [rule("kill")]


def test_our_own_default_passes_through():
    ours = seccomp.default_profile(())
    found = seccomp_file.resolve(json.dumps(ours), ())
    assert found["syscalls"] == ours["syscalls"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"defaultAction": "ALLOW"}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {"a": 1}}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [1]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "X"}]}',
        _START + '"action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "X"}]}]}',
        _START + '"action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "x"}}]}',
    ],
)
def test_files_that_are_no_profile(text):
    with pytest.raises(InvalidInputError, match="seccomp profile"):
        seccomp_file.resolve(text, ())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["names", "action", "args", "includes", "excludes", "caps", "minKernel", "index"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"defaultAction": st.just(ALLOW), "syscalls": JSON, "archMap": JSON}))
def test_any_json_is_a_profile_or_an_error(profile):
    try:
        seccomp_file.resolve(json.dumps(profile), ("CAP_KILL",))
    except InvalidInputError:
        return
