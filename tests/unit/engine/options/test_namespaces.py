from types import SimpleNamespace

import pytest

from cgagent.engine.options import namespaces
from cgagent.engine.options.namespaces import Namespaces
from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from cgagent.runtime.spec import OWN_NAMESPACES, Namespace


def find(reference):
    """Containers by the name of their ipc mode."""
    if reference == "nosuch":
        raise NotFoundError("none")
    return SimpleNamespace(
        id=f"id-{reference}",
        name=reference,
        namespaces=Namespaces(ipc=reference),
        require_started_here=lambda _: None,
    )


def test_nothing_asked_is_all_of_ones_own():
    assert namespaces.listed(Namespaces(), lambda _: 0) == OWN_NAMESPACES


def test_shared_and_joined():
    asked = Namespaces(
        pid="container:shareable", ipc="container:shareable", uts="host", network="host"
    )
    shared = namespaces.checked(asked, find)
    assert shared.pid == shared.ipc == "container:id-shareable"
    assert namespaces.listed(shared, lambda _: 7) == (
        Namespace("pid", "/proc/7/ns/pid"),
        Namespace("mount"),
        Namespace("ipc", "/proc/7/ns/ipc"),
        Namespace("cgroup"),
    )
    assert namespaces.private(shared) == {"pid", "mount", "ipc", "cgroup"}


@pytest.mark.parametrize(
    "asked",
    [
        {"pid": "private"},
        {"pid": "container:"},
        {"ipc": ""},
        {"uts": "container:x"},
        {"cgroup": "container:x"},
        {"cgroup": "x"},
    ],
)
def test_modes_that_are_none(asked):
    with pytest.raises(InvalidInputError, match=r"invalid .* mode"):
        namespaces.checked(Namespaces(**asked), find)


def test_refusals():
    for shared in ({"pid": "host"}, {"uts": "host"}, {"ipc": "container:shareable"}):
        with pytest.raises(InvalidInputError, match="must be its own, too"):
            namespaces.checked(Namespaces(user="auto", **shared), find)
    with pytest.raises(InvalidInputError, match="network namespace must be its own"):
        namespaces.checked(Namespaces(user="auto", network="host"), find)
    with pytest.raises(ConflictError, match="create it with --ipc shareable"):
        namespaces.checked(Namespaces(ipc="container:private"), find)
    with pytest.raises(NotFoundError):
        namespaces.checked(Namespaces(pid="container:nosuch"), find)
    assert namespaces.checked(Namespaces(user="host"), find).user == "host"


def test_each_has_ids_of_its_own():
    first = namespaces.free_ids([0])
    second = namespaces.free_ids([0, first])
    assert second - first == namespaces.ID_COUNT
    assert namespaces.free_ids([0, second]) == first
    own = Namespaces(user="auto", user_first_id=first)
    assert own.user_ids == (first, namespaces.ID_COUNT)
    assert namespaces.listed(own, lambda _: 0)[-1].type == "user"
    assert Namespaces(user_first_id=first).user_ids is None
