"""Files of rulesets as the command line reads them."""

import pytest

from cgagent.cli.policies import _document
from cgagent.errors import InvalidInputError


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.toml", "[[ruleset]]\nduring = 22:00:00", "22:00:00 is a date or a time"),
        ("a.toml", "[[ruleset]]\nabove = inf", "Out of range"),
        ("a.json", '{"ruleset": [{"above": NaN}]}', "Out of range"),
        ("a.toml", "[[ruleset", "cannot be read"),
        ("a.toml", "", r"has no \[\[ruleset\]\]"),
        ("a.json", "[]", r"has no \[\[ruleset\]\]"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path, name, text, told):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(InvalidInputError, match=told):
        _document(str(file))
