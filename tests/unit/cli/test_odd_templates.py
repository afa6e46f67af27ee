"""Templates that nobody writes on purpose: each is an error or a text, at once."""

from __future__ import annotations

import pytest

from cgagent.cli.templates import Template, TemplateError

_MANY = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "{{" + "/**/" * _MANY,
        "{{" + "/*" * _MANY,
        '{{"' + "\\" * (_MANY + 1),
        "{{" + "'" * (_MANY + 1),
        "{{" + "`" * (_MANY + 1),
        "{{" * _MANY,
        "{{-" + " " * _MANY,
        "{{if .}}" * 5000 + "{{end}}" * 5000,
        "{{" + "(" * 5000 + "." + ")" * 5000 + "}}",
        "{{if .}}" + "{{else if .}}" * 5000 + "{{end}}",
        "{{" + "." + "|print" * 5000 + "}}",
        "{{if .}}{{else what}}{{end}}",
        "{{'ab'}}",
        "{{''}}",
        r'{{"\ud800"}}',
        r'{{"\U00110000"}}',
        "{{0x" + "f" * 5000 + "}}",
        "{{1e999}}",
        '{{printf "%99999999999d" 1}}',
        '{{printf "%.99999999999f" 1.5}}',
        '{{pad "x" 99999999999 0}}',
    ],
    ids=lambda text: text[:20],
)
def test_it_is_an_error(text: str) -> None:
    with pytest.raises(TemplateError):
        Template(text).render({"A": 1})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{{/* a */}}{{/*}}*/}}b{{- /* c */ -}} d", "bd"),
        ("{{range 1000000000000}}{{break}}{{end}}", ""),
        ('{{printf "%c%c" -1 0xd800}}', "\ufffd\ufffd"),
        ('{{printf "%*d" 99999999999 1}}', "%!(BADWIDTH)%!(EXTRA int=1)"),
        *((f"{{{{range {none}}}}}a{{{{else}}}}b{{{{end}}}}", "b") for none in ("0", "-1", ".E")),
        ("x" * _MANY, "x" * _MANY),
    ],
    ids=lambda text: text[:20],
)
def test_it_is_a_text(text: str, shown: str) -> None:
    assert Template(text).render({"A": 1, "E": []}) == shown
