"""The difference of an upper directory from its lower ones, on trees made as overlayfs does."""

import os
import stat

import pytest

from cgagent.images.changes import changes
from cgagent.images.drivers import RootFs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts and trusted.* need root")


@pytest.fixture
def layers(tmp_path):
    """Upper, and two lower layers, top first."""
    made = [tmp_path / name for name in ("upper", "top", "bottom")]
    for one in made:
        one.mkdir()
    return made


def put(layer, *paths):
    for path in paths:
        target = layer / path.strip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            target.mkdir(exist_ok=True)
        else:
            target.write_text(path)


def white_out(layer, path):
    (layer / path).parent.mkdir(parents=True, exist_ok=True)
    os.mknod(layer / path, stat.S_IFCHR, 0)


def shown(layers, **options):
    upper, *lowers = map(str, layers)
    return [f"{c.kind} {c.path}" for c in changes(RootFs(tuple(lowers), upper, ""), **options)]


def test_added_changed_deleted(layers):
    upper, top, bottom = layers
    put(bottom, "etc/passwd", "etc/gone", "bin/x")
    put(top, "etc/group")
    put(upper, "etc/passwd", "etc/new", "fresh/a/b")
    white_out(upper, "etc/gone")
    assert shown(layers) == [
        *("C /etc", "D /etc/gone", "A /etc/new", "C /etc/passwd"),
        *("A /fresh", "A /fresh/a", "A /fresh/a/b"),
    ]


def test_a_directory_that_was_only_copied_up_is_no_change(layers):
    put(layers[2], "etc/x")
    put(layers[0], "etc/")
    assert shown(layers) == []
    (layers[0] / "etc").chmod(0o700)
    assert shown(layers) == ["C /etc"]


def test_an_opaque_directory_deletes_what_it_hides(layers):
    upper, top, bottom = layers
    put(bottom, "d/old", "d/kept", "d/in/deep")
    put(top, "d/other")
    put(upper, "d/kept", "d/new", "d/in/")
    os.setxattr(upper / "d", "trusted.overlay.opaque", b"y")
    assert shown(layers) == [
        *("C /d", "C /d/in", "D /d/in/deep", "C /d/kept", "A /d/new", "D /d/old", "D /d/other"),
    ]


def test_what_a_middle_layer_hides_was_not_there(layers):
    upper, top, bottom = layers
    put(bottom, "d/x", "e/y", "f")
    white_out(top, "d/x")
    put(top, "e/")
    os.setxattr(top / "e", "trusted.overlay.opaque", b"y")
    white_out(top, "f")
    put(upper, "d/x", "e/y", "f")
    assert shown(layers) == ["C /d", "A /d/x", "C /e", "A /e/y", "A /f"]


def test_a_directory_in_the_place_of_a_file_and_the_other_way_round(layers):
    upper, _, bottom = layers
    put(bottom, "file", "dir/x")
    put(upper, "file/x", "dir")
    assert shown(layers) == ["C /dir", "C /file", "A /file/x"]


def test_links_of_layers_are_not_followed(layers, tmp_path):
    upper, top, bottom = layers
    put(tmp_path, "outside/secret")
    (upper / "a").symlink_to(tmp_path / "outside")
    (top / "b").symlink_to(tmp_path / "outside")
    put(bottom, "b/secret")
    put(upper, "b/secret")
    assert shown(layers) == ["A /a", "C /b", "A /b/secret"]


def test_what_was_made_for_a_mount_is_no_change(layers):
    upper = layers[0]
    (upper / "etc").mkdir()
    (layers[1] / "etc").mkdir()
    (upper / "etc" / "hosts").touch()
    (upper / "vol").mkdir()
    assert shown(layers, mount_points=["/etc/hosts", "/vol"]) == []
    put(upper, "vol/under")
    assert shown(layers, mount_points=["/vol"]) == [
        "C /etc",
        "A /etc/hosts",
        "A /vol",
        "A /vol/under",
    ]


def test_names_that_are_no_text(layers):
    os.mkdir(os.path.join(os.fsencode(layers[0]), b"\xff"))
    assert shown(layers) == ["A /\N{REPLACEMENT CHARACTER}"]
