import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.engine.options import confinement
from cgagent.engine.options.confinement import Confinement, Ulimit
from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.kernel.capabilities import NAMES
from cgagent.runtime.seccomp import default as seccomp
from cgagent.runtime.spec import Privileges, Rlimit
from cgagent.runtime.spec.defaults import CAPABILITIES

OWN = frozenset({"pid", "mount", "uts", "ipc", "cgroup", "network"})


def effective(**asked):
    for flag in asked.keys() & {"cap_add", "cap_drop"}:
        asked[flag] = confinement.capability_names(asked[flag])
    return set(confinement.capabilities(Confinement(**asked)))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, set(CAPABILITIES)),
        ({"cap_add": ("net_admin", "CAP_NET_ADMIN")}, {*CAPABILITIES, "CAP_NET_ADMIN"}),
        ({"cap_drop": ("Kill",)}, set(CAPABILITIES) - {"CAP_KILL"}),
        ({"cap_add": ("KILL",), "cap_drop": ("KILL",)}, set(CAPABILITIES)),
        ({"cap_drop": ("ALL",)}, set()),
        ({"cap_drop": ("ALL",), "cap_add": ("KILL",)}, {"CAP_KILL"}),
        ({"cap_add": ("all",)}, set(NAMES)),
        ({"cap_add": ("ALL",), "cap_drop": ("KILL",)}, set(NAMES) - {"CAP_KILL"}),
        ({"cap_add": ("ALL",), "cap_drop": ("ALL",)}, set(NAMES)),
        ({"privileged": True, "cap_drop": ("ALL",)}, set(NAMES)),
    ],
)
def test_capabilities_by_dockers_rules(asked, expected):
    assert effective(**asked) == expected


NAMED = st.lists(st.sampled_from([*NAMES, "ALL"]), max_size=5).map(tuple)


@given(NAMED, NAMED)
def test_no_capability_appears_from_nowhere(added, dropped):
    found = confinement.capabilities(Confinement(cap_add=added, cap_drop=dropped))
    assert len(set(found)) == len(found)
    assert set(found) <= set(NAMES)
    if "ALL" not in added:
        assert set(found) <= {*CAPABILITIES, *added}


def test_nothing_asked_is_an_ordinary_container():
    nothing = Confinement()
    confinement.check(nothing, OWN)
    assert confinement.privileges(nothing) == Privileges()
    assert confinement.seccomp_choice(nothing) == seccomp.DEFAULT
    assert confinement.hides_kernel_files(nothing)


def test_privileged():
    mighty = Confinement(privileged=True)
    assert confinement.seccomp_choice(mighty) == seccomp.UNCONFINED
    assert not confinement.hides_kernel_files(mighty)
    asked = Confinement(privileged=True, security_opt=("seccomp=builtin",))
    assert confinement.seccomp_choice(asked) == seccomp.DEFAULT


def test_limits_without_end():
    made = confinement.privileges(Confinement(ulimits=(Ulimit(name="core", soft=0, hard=-1),)))
    assert made.rlimits == (Rlimit("RLIMIT_CORE", 0, 2**64 - 1),)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["no-new-privileges"], {"no_new_privileges": True}),
        (["no-new-privileges:true"], {"no_new_privileges": True}),
        (["no-new-privileges=true", "no-new-privileges=false"], {"no_new_privileges": False}),
        (["seccomp=unconfined"], {"seccomp": "unconfined"}),
        (["seccomp:unconfined"], {"seccomp": "unconfined"}),
        (["systempaths=unconfined"], {"system_paths_unconfined": True}),
        (["apparmor=unconfined", "label=disable"], {}),
        (['seccomp={"a": "b=c"}'], {"seccomp": '{"a": "b=c"}'}),
    ],
)
def test_security_options(options, expected):
    assert confinement.parse_security(options) == confinement.SecurityOptions(**expected)


@pytest.mark.parametrize(
    "option",
    ["", "fun", "seccomp", "seccomp=", "no-new-privileges=2", "systempaths=masked", "=", "label"],
)
def test_security_options_that_are_none(option):
    with pytest.raises(InvalidInputError, match="is not known"):
        confinement.parse_security([option])


def test_labels_are_not_there_yet():
    with pytest.raises(UnsupportedError, match="SELinux labels are not there yet"):
        confinement.parse_security(["label=type:x"])


@pytest.mark.parametrize(
    "asked",
    [
        {"sysctls": {"kernel.panic": "1"}},
        {"sysctls": {"": "1"}},
        {"ulimits": (Ulimit(name="NOFILE", soft=1, hard=1),)},
        {"ulimits": (Ulimit(name="nofile", soft=1, hard=2**64),)},
        {"group_add": ("4294967295",)},
        {"oom_score_adj": -1001},
        {"security_opt": ("seccomp=x",)},
        {"device_cgroup_rules": ("x 1:2 r",)},
    ],
)
def test_values_that_are_none(asked):
    with pytest.raises(InvalidInputError):
        confinement.check(Confinement(**asked), OWN)


@pytest.mark.parametrize("name", ["NOPE", "", "CAP_"])
def test_capabilities_that_are_none(name):
    with pytest.raises(InvalidInputError, match="unknown capability"):
        confinement.capability_names([name])


@pytest.mark.parametrize(
    ("name", "kind"), [("net.core.somaxconn", "network"), ("fs.mqueue.msg_max", "ipc")]
)
def test_kernel_parameters_need_a_namespace(name, kind):
    asked = Confinement(sysctls={name: "1"})
    confinement.check(asked, OWN)
    with pytest.raises(InvalidInputError, match=f"needs a {kind} namespace"):
        confinement.check(asked, OWN - {kind})


def test_a_profile_of_ones_own_is_kept_as_text():
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW"})
    asked = Confinement(security_opt=(f"seccomp={text}",))
    confinement.check(asked, OWN)
    assert confinement.seccomp_choice(asked) == text


@pytest.mark.parametrize(
    ("own", "asked", "given"), [(-500, None, 0), (-500, -7, -7), (0, None, None), (300, None, None)]
)
def test_containers_are_not_spared_as_the_service_is(monkeypatch, own, asked, given):
    """The unit's OOMScoreAdjust is the agent's own; a container's is 0, as docker's is."""
    monkeypatch.setattr(confinement, "_own_oom_score", lambda: own)
    assert confinement.privileges(Confinement(oom_score_adj=asked)).oom_score_adj == given
