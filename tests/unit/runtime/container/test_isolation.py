from contextlib import ExitStack

import pytest

from cgagent.errors import InvalidInputError
from cgagent.kernel import namespaces
from cgagent.runtime.container.isolation import FLAGS, Isolation


def test_own_and_joined_are_told_apart():
    isolation = Isolation.from_oci(
        [{"type": "pid"}, {"type": "mount", "path": ""}, {"type": "network", "path": "/n"}]
    )
    assert isolation.own == {"pid", "mount"}
    assert isolation.paths == (("network", "/n"),)
    assert isolation.private == {"pid", "mount", "network"}
    assert isolation.clone_flags == namespaces.CLONE_NEWPID | namespaces.CLONE_NEWNS


def test_cgroup_and_time_are_not_made_by_clone():
    everything = Isolation.from_oci([{"type": kind} for kind in FLAGS])
    assert not everything.clone_flags & (namespaces.CLONE_NEWCGROUP | namespaces.CLONE_NEWTIME)


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([{"type": "net"}], "'net' is not known"),
        ([{"type": "pid"}, {"type": "pid", "path": "/x"}], "given twice"),
        ([{"type": "pid", "path": "proc/1/ns/pid"}], "must be absolute"),
    ],
)
def test_what_makes_no_sense(entries, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        Isolation.from_oci(entries)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/proc/self/ns/uts", "not a namespace of type 'network'"),
        ("/dev/null", "not a namespace of type 'network'"),
        ("/no/such", "no such file"),
    ],
)
def test_a_file_of_another_kind_is_refused(path, complaint):
    isolation = Isolation.from_oci([{"type": "network", "path": path}])
    with ExitStack() as stack, pytest.raises(InvalidInputError, match=complaint):
        isolation.open(stack)


def test_a_namespace_is_opened():
    isolation = Isolation.from_oci([{"type": "network", "path": "/proc/self/ns/net"}])
    with ExitStack() as stack:
        ((flag, fd),) = isolation.open(stack)
        assert flag == namespaces.CLONE_NEWNET
        assert fd >= 0
