import json

import pytest

from cgagent.cli.formats import fill, print_all
from cgagent.errors import InvalidInputError

ITEM = {"State": {"Running": True, "Pid": 7}, "Name": "{{box"}


@pytest.mark.parametrize("format_", ["json", "{{json .}}"])
def test_one_as_json_in_a_line(capsys, format_):
    print_all([ITEM], format_)
    assert json.loads(capsys.readouterr().out) == ITEM


def test_fields_in_a_text():
    assert fill(ITEM, "{{.Name}} {{ .State.Pid }} {{json .State}}") == (
        '{{box 7 {"Running":true,"Pid":7}'
    )


@pytest.mark.parametrize("format_", ["{{if .State.Running}}up{{end}}", "{{.State.None}}", "{{"])
def test_what_is_no_field_is_refused(format_):
    with pytest.raises(InvalidInputError, match="--format"):
        fill(ITEM, format_)
