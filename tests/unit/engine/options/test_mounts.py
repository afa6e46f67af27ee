import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgagent.engine.options import mounts
from cgagent.engine.options.mounts import MountSpec, parse_bind, parse_tmpfs
from cgagent.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", {"type": "volume", "destination": "/data"}),
        ("name:/data", {"type": "volume", "source": "name", "destination": "/data"}),
        (
            "/host:/data",
            {"type": "bind", "source": "/host", "destination": "/data", "create_source": True},
        ),
        (
            "/host:/data:ro,Z,rslave",
            {"type": "bind", "source": "/host", "destination": "/data", "create_source": True}
            | {"read_only": True, "propagation": "rslave"},
        ),
        (
            "name:/data:nocopy,rw",
            {"type": "volume", "source": "name", "destination": "/data", "no_copy": True},
        ),
    ],
)
def test_volume_flags(text, expected):
    assert parse_bind(text) == MountSpec(**expected)


@given(st.text("/:,abrow.\0", max_size=20))
@example("a:/b:ro,")
@example("//")
def test_any_text_is_a_mount_or_an_error(text):
    try:
        spec = mounts.checked(parse_bind(text))
    except InvalidInputError:
        return
    assert spec.destination.startswith("/")
    assert not spec.destination.startswith("//")
    assert spec.destination not in {"/", "/proc", "/sys", "/dev"}
    assert "\0" not in spec.destination + spec.source


def points(*specs):
    return mounts.points(mounts.combined(specs, ()), lambda name: f"/volumes/{name}")


def test_what_they_become():
    one, two = points(
        MountSpec(type="volume", source="vol", destination="/v", read_only=True),
        MountSpec(type="bind", source="/tmp", destination="/b/", recursive=False, read_only=True),
    )
    assert (one.source, one.options) == ("/volumes/vol", ("rbind", "rprivate", "rro"))
    assert (two.destination, two.options) == ("/b", ("bind", "rprivate", "ro"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", {"noexec", "nosuid", "nodev"}),
        ("exec,size=1m", {"nosuid", "nodev", "exec", "size=1m"}),
        ("suid,dev,exec,mode=755", {"suid", "dev", "exec", "mode=755"}),
        ("noexec,ro", {"noexec", "nosuid", "nodev", "ro"}),
    ],
)
def test_a_tmpfs_has_dockers_options(given, expected):
    (point,) = points(parse_tmpfs("/t", given))
    assert set(point.options) == expected
    assert len(point.options) == len(expected)


@pytest.mark.parametrize("options", ["size=x", "mode=999", "lowerdir=/", "bind", "uid=-1", "a b"])
def test_options_of_a_tmpfs_that_are_none(options):
    with pytest.raises(InvalidInputError, match="invalid tmpfs option"):
        points(parse_tmpfs("/t", options))


def test_an_images_volume_gives_way_to_what_was_asked():
    asked = MountSpec(type="tmpfs", destination="/data")
    found = mounts.combined([asked], ("/data/", "/cache"))
    assert [(m.type, m.destination, m.anonymous) for m in found] == [
        ("tmpfs", "/data", False),
        ("volume", "/cache", True),
    ]


def test_two_at_one_place():
    with pytest.raises(InvalidInputError, match="duplicate mount point: /x"):
        points(parse_bind("/tmp:/x"), parse_tmpfs("/x/", ""))


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "bind", "source": "/no/such", "destination": "/x"},
        {"type": "bind", "source": "relative", "destination": "/x"},
        {"type": "bind", "source": "/tmp", "destination": "/x", "propagation": "unbindable"},
        {"type": "bind", "source": "/tmp", "destination": "/x", "no_copy": True},
        {"type": "volume", "source": "/tmp", "destination": "/x"},
        {"type": "volume", "source": "x", "destination": "/x"},
        {"type": "volume", "source": "..", "destination": "/x"},
        {"type": "volume", "destination": "/x", "propagation": "shared"},
        {"type": "tmpfs", "source": "x", "destination": "/x"},
        {"type": "tmpfs", "destination": "/x", "labels": {"a": "b"}},
        {"type": "tmpfs", "destination": "relative"},
        {"type": "tmpfs", "destination": "/a/.."},
        {"type": "tmpfs", "destination": "/a/../proc"},
    ],
)
def test_mounts_that_are_none(wrong):
    with pytest.raises(InvalidInputError):
        mounts.checked(MountSpec(**wrong))


def test_a_directory_is_made_only_where_that_is_asked(tmp_path):
    place = tmp_path / "a" / "b"
    spec = MountSpec(type="bind", source=str(place), destination="/x", create_source=True)
    kept = mounts.combined([spec], ())
    assert not place.exists()
    mounts.points(kept, str)
    assert place.is_dir()


def test_spellings_of_a_tmpfs_that_docker_takes():
    for options in ("mode=01777", "mode=0001777", "defaults,size=1m", "defaults"):
        (point,) = points(parse_tmpfs("/t", options))
        assert "defaults" not in point.options
