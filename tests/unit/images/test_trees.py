from __future__ import annotations

import os

from cgagent.images.unpack.trees import remove_tree


def test_removes_a_tree_deeper_than_any_recursion_or_path(tmp_path):
    root = tmp_path / "deep"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    remove_tree(os.fsencode(root))
    assert not root.exists()


def test_does_not_follow_links_and_copes_with_names_like_its_own(tmp_path):
    kept = tmp_path / "kept"
    (kept / "inner").mkdir(parents=True)
    root = tmp_path / "root"
    for name in ("0", "1", "0/0/x", "1/0/y", "1/1"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "link").symlink_to(kept)
    (root / "0/link").symlink_to(kept)
    remove_tree(os.fsencode(root))
    assert not root.exists()
    assert (kept / "inner").exists()
