from hypothesis import given
from hypothesis import strategies as st

from cgagent.cli.output import table


@given(st.lists(st.tuples(st.text(), st.text())))
def test_no_cell_of_a_table_moves_the_cursor(rows):
    lines = table(("NAME", "STATE"), rows).split("\n")
    assert len(lines) == 1 + len(rows)
    assert all(line.isprintable() for line in lines)


def test_columns_are_as_wide_as_what_is_shown():
    shown = table(("NAME", "STATE"), [("x\x1b[2J\n", "running"), ("\udcff", "frozen")])
    assert shown == "NAME           STATE\nx\\x1b[2J\\x0a   running\n\\xff           frozen"
