import pytest

from cgagent.engine.containers.names import ID_LENGTH, check_name, new_id, random_name
from cgagent.errors import InvalidInputError


@pytest.mark.parametrize("name", ["a", "0", "A-b_c.d", "x" * 255])
def test_names(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "a\n", "ä", "x" * 256])
def test_names_that_are_none(name):
    with pytest.raises(InvalidInputError, match="is not valid: letters, digits"):
        check_name(name)


def test_made_up_names_and_ids_are_valid_and_differ():
    assert all(check_name(random_name()) for _ in range(100))
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(i) == ID_LENGTH and int(i, 16) >= 0 and not i[:12].isdecimal() for i in ids)
