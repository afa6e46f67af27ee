import pytest

from cgagent.errors import InvalidInputError
from cgagent.runtime.container import console


def test_the_size_of_an_oci_process():
    assert console.size_of({"consoleSize": {"height": 25, "width": 80}}) == (25, 80)
    assert console.size_of({"terminal": True}) is None


@pytest.mark.parametrize("size", [(-1, 80), (25, 65536)])
def test_a_size_no_terminal_has_is_refused(size):
    with pytest.raises(InvalidInputError, match="terminal size"):
        console.check_size(*size)
