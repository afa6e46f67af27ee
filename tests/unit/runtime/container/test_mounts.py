import pytest

from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.kernel import mount as km
from cgagent.kernel import userns
from cgagent.runtime.container.mounts import Mount


def oci(*options, type="tmpfs", **fields):  # noqa: A002 - the OCI name
    entry = {"destination": "/x", "type": type, "source": "s", "options": list(options), **fields}
    return Mount.from_oci(entry, "/bundle")


@pytest.mark.parametrize(
    ("options", "kind", "recursive"),
    [(("bind",), None, False), (("rbind", "ro"), None, True), ((), "bind", True)],
)
def test_binds(options, kind, recursive):
    mount = oci(*options, type=kind)
    assert mount.is_bind
    assert bool(mount.options.flags & km.MS_REC) is recursive
    assert mount.type is None
    assert mount.describe() == "mount bind /bundle/s on /x"


def test_relative_paths():
    assert oci("bind", destination="x/y").destination == "/x/y"
    assert oci("bind", source="/s").source == "/s"
    assert oci(source="tmpfs").source == "tmpfs"  # a dummy, no path


def test_type_and_options_may_be_missing():
    assert Mount.from_oci({"destination": "/x"}).options.flags == 0
    assert Mount.from_oci({"destination": "/x", "options": None}).options.flags == 0


def test_an_id_mapped_mount():
    own = {"containerID": 0, "hostID": 1, "size": 2}
    assert oci("bind", "ridmap").is_id_mapped
    mount = oci("bind", uidMappings=[own], gidMappings=[own])
    assert mount.is_id_mapped
    assert mount.mappings.uids == (userns.Range(0, 1, 2),)
    with pytest.raises(InvalidInputError, match="belong together"):
        oci("bind", uidMappings=[own])
    with pytest.raises(UnsupportedError, match="only bind mounts"):
        Mount.from_oci({"destination": "/x", "type": "tmpfs", "options": ["idmap"]})
