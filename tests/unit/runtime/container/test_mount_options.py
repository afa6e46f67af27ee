import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.kernel import mount as km
from cgagent.runtime.container import mount_options
from cgagent.runtime.container.mount_options import Attributes, Options


def parse(*words):
    return Options.parse(words)


def test_flags_and_data_are_told_apart():
    options = parse("nosuid", "noexec", "mode=755", "ro", "size=64k")
    assert options.flags == km.MS_NOSUID | km.MS_NOEXEC | km.MS_RDONLY
    assert options.data == "mode=755,size=64k"


def test_a_later_option_wins():
    assert parse("ro", "rw").flags == 0
    assert parse("rw", "ro").flags == km.MS_RDONLY
    assert parse("nosuid", "suid", "dev").flags == 0


def test_propagation_is_a_step_of_its_own():
    options = parse("rbind", "rslave", "shared")
    assert options.propagation == (km.MS_SLAVE | km.MS_REC, km.MS_SHARED)
    assert not options.flags & km.MS_SLAVE


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ro",), Attributes(km.MOUNT_ATTR_RDONLY)),
        (("rw",), Attributes(0, km.MOUNT_ATTR_RDONLY)),
        (("ro", "rw", "nodev"), Attributes(km.MOUNT_ATTR_NODEV, km.MOUNT_ATTR_RDONLY)),
        (("noatime",), Attributes(km.MOUNT_ATTR_NOATIME, km.MOUNT_ATTR_ATIME)),
        (("strictatime",), Attributes(km.MOUNT_ATTR_STRICTATIME, km.MOUNT_ATTR_ATIME)),
        (("atime",), Attributes(0, km.MOUNT_ATTR_ATIME)),
        (("sync", "size=1"), Attributes()),
    ],
)
def test_what_a_bind_mount_takes(words, expected):
    assert parse(*words).attributes == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("rro",), Attributes(km.MOUNT_ATTR_RDONLY)),
        (("rro", "rrw"), Attributes(0, km.MOUNT_ATTR_RDONLY)),
        (("rnoatime", "rnodev"), Attributes(0x14, km.MOUNT_ATTR_ATIME)),
        (("rnoatime", "rstrictatime"), Attributes(0x20, km.MOUNT_ATTR_ATIME)),
        (("ro",), Attributes()),
    ],
)
def test_what_all_mounts_below_take(words, expected):
    assert parse(*words).recursive == expected


@given(st.lists(st.sampled_from(mount_options.names())))
def test_no_known_option_reaches_the_file_system(words):
    options = Options.parse(words)
    assert options.data == ""
    for attributes in (options.attributes, options.recursive):
        # the kernel refuses a change of access time that does not clear the old one
        if attributes.set & km.MOUNT_ATTR_ATIME:
            assert attributes.clear & km.MOUNT_ATTR_ATIME == km.MOUNT_ATTR_ATIME
        assert attributes.set & km.MOUNT_ATTR_ATIME != km.MOUNT_ATTR_ATIME


@given(st.lists(st.text(min_size=1, max_size=8).filter(lambda w: "," not in w)))
def test_every_other_word_does(words):
    unknown = [w for w in words if w not in mount_options.names() and w not in {"idmap", "ridmap"}]
    assert Options.parse(unknown).data == ",".join(unknown)
