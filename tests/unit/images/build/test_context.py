"""What is in a build context, and what COPY means in it."""

import pytest

from cgagent.errors import NotFoundError
from cgagent.images.build.context import Context


def made(**changes):
    files = {
        "a": {"kind": "directory", "mode": 0o755},
        "a/x.py": {"kind": "file", "mode": 0o644, "digest": "1"},
        "a/y.py": {"kind": "file", "mode": 0o644, "digest": "2"},
        "a/in": {"kind": "directory", "mode": 0o755},
        "a/in/z.py": {"kind": "file", "mode": 0o644, "digest": "3"},
        "link": {"kind": "link", "mode": 0o777, "target": "a"},
        "out": {"kind": "link", "mode": 0o777, "target": "../../../a/x.py"},
        "loop": {"kind": "link", "mode": 0o777, "target": "loop"},
        **changes,
    }
    return Context.of({"path": path, **about} for path, about in files.items())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (".", [""]),
        ("/", [""]),
        ("a", ["a"]),
        ("./a/x.py", ["a/x.py"]),
        ("../a", ["a"]),
        ("a/*.py", ["a/x.py", "a/y.py"]),
        ("*/x.py", ["a/x.py"]),
        ("link", ["a"]),
        ("link/in", ["a/in"]),
        ("out", ["a/x.py"]),
    ],
)
def test_what_a_source_means(source, found):
    assert made().matching(source) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("**/*.py", ["a/in/z.py", "a/x.py", "a/y.py"]),
        ("a/**/z.py", ["a/in/z.py"]),
        ("/**/in", ["a/in"]),
        ("a/**", ["a/in", "a/x.py", "a/y.py"]),
        ("**", ["a", "a", "a/x.py"]),
        ("a/*.py", ["a/x.py", "a/y.py"]),
    ],
)
def test_what_a_source_means_at_any_depth(source, found):
    assert made().matching(source, deep=True) == found


@pytest.mark.parametrize("source", ["b", "a/x.py/z", "*.c", "loop"])
def test_what_is_not_there(source):
    with pytest.raises(NotFoundError, match="in the build context"):
        made().matching(source)


def test_a_digest_is_of_names_modes_and_contents():
    whole = made().digest(["a"])
    assert made().digest(["a"]) == whole
    other = {"kind": "file", "mode": 0o644, "digest": "4"}
    assert made(**{"a/in/z.py": other}).digest(["a"]) != whole
    assert made(**{"a/in/new": other}).digest(["a"]) != whole
    assert made(elsewhere=other).digest(["a"]) == whole
    executable = {"kind": "file", "mode": 0o755, "digest": "1"}
    assert made(**{"a/x.py": executable}).digest(["a"]) != whole


def test_of_a_file_the_name_counts_and_of_a_directory_it_does_not():
    same = {"kind": "file", "mode": 0o644, "digest": "1"}
    context = made(other=same, b={"kind": "directory", "mode": 0o755}, **{"b/x.py": same})
    assert context.digest(["a/x.py"]) != context.digest(["other"])
    assert context.digest(["a/x.py"]) == context.digest(["b/x.py"])
    one = Context.of([{"path": "c", "kind": "directory", "mode": 0o755}])
    two = Context.of([{"path": "d", "kind": "directory", "mode": 0o755}])
    assert one.digest(["c"]) == two.digest(["d"])
