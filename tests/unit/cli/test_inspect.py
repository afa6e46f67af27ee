import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cli.formats import fill, print_all, print_listed
from cgagent.cli.templates import Template, TemplateError
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


@pytest.mark.parametrize("format_", ["{{if .State.Running}}up", "{{.State.None}}", "{{"])
def test_what_is_no_field_is_refused(format_):
    with pytest.raises(InvalidInputError, match="--format"):
        fill(ITEM, format_)


def listed(capsys, items, format_):
    print_listed(items, format_, {"ID": "ID", "Name": "NAME"})
    return capsys.readouterr().out


def test_a_table_has_docker_s_headings(capsys):
    items = [{"ID": "1", "Name": "a\tb", "Size": "2B", "Label": {"x.y-z": "here"}}]
    assert listed(capsys, items, "table") == "ID   NAME\n1    a\\x09b\n"
    shown = listed(capsys, items, r'table {{.ID}}\t{{upper .Size}}\t{{.Label "x.y-z"}}')
    assert shown == "ID   SIZE   y z\n1    2B     here\n"
    assert listed(capsys, [], r"table {{.ID}}\t{{.Size}}") == "ID   SIZE\n"


def test_a_line_of_each_in_a_list(capsys):
    items = [{"ID": "1", "Name": "a"}, {"ID": "2", "Name": "b"}]
    assert listed(capsys, items, r'{{.ID}}\t{{if eq .Name "a"}}first{{end}}') == "1\tfirst\n2\t\n"


@given(st.text(), st.text())
def test_whatever_is_asked_is_filled_or_refused(template, value):
    with contextlib.suppress(TemplateError):
        Template(template).render({"Name": value})
    with contextlib.suppress(TemplateError):
        Template(f"{{{{{template}}}}}").render({"Name": value})
    assert Template("{{.Name}}{{`}}`}}").render({"Name": value}) == value + "}}"
