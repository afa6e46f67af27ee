import pytest

from cgagent.errors import InvalidInputError
from cgagent.kernel import mount as km
from cgagent.runtime.mounts import Mount


def oci(*options, type="tmpfs", **fields):  # noqa: A002 - the OCI name
    entry = {"destination": "/x", "type": type, "source": "s", "options": list(options), **fields}
    return Mount.from_oci(entry)


def test_flags_and_data_are_told_apart():
    mount = oci("nosuid", "noexec", "mode=755", "ro", "size=64k")
    assert mount.flags == km.MS_NOSUID | km.MS_NOEXEC | km.MS_RDONLY
    assert mount.data == "mode=755,size=64k"
    assert not mount.is_bind


def test_a_later_option_wins():
    assert oci("ro", "rw").flags == 0
    assert oci("rw", "ro").flags == km.MS_RDONLY
    assert oci("nosuid", "suid", "dev").flags == 0


@pytest.mark.parametrize(
    ("options", "kind", "recursive"),
    [(("bind",), None, False), (("rbind", "ro"), None, True), ((), "bind", True)],
)
def test_binds(options, kind, recursive):
    mount = oci(*options, type=kind)
    assert mount.is_bind
    assert bool(mount.flags & km.MS_REC) is recursive
    assert mount.type is None
    assert mount.describe() == "mount bind s on /x"


def test_propagation_is_a_step_of_its_own():
    mount = oci("rbind", "rslave", "shared")
    assert mount.propagation == (km.MS_SLAVE | km.MS_REC, km.MS_SHARED)
    assert not mount.flags & km.MS_SLAVE


def test_a_relative_destination_is_refused():
    with pytest.raises(InvalidInputError, match="must be an absolute path"):
        oci(destination="x")


def test_type_and_options_may_be_missing():
    assert Mount.from_oci({"destination": "/x"}).flags == 0
