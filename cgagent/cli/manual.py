"""``manual``: a manual page of each command, made of what ``--help`` is made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cgagent import __version__
from cgagent.cli import catalog
from cgagent.cli.main import COMMANDS, global_flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgagent.cli.flags import Flag
    from cgagent.cli.main import Context


def manual(context: Context) -> int:
    parser = context.parser(
        "DIR",
        "Write the manual pages: cgagent(1), cgagent-run(1) and so on. man -M asks for man1/.",
    )
    parser.add_argument(
        "directory", metavar="DIR", help="where they go, such as /usr/local/man/man1"
    )
    folder = Path(parser.parse_args(context.args).directory)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


def pages() -> Iterator[tuple[str, str]]:
    """Each page with the name of its file."""
    yield "cgagent.1", _overview()
    for found in catalog.all_described():
        yield f"cgagent-{'-'.join(found.words)}.1", _page(found)


def _overview() -> str:
    form = global_flags()
    lines = [
        *_head("cgagent", form.text("description")),
        *_synopsis(form.text("usage")),
        ".SH COMMANDS",
    ]
    for command in COMMANDS:
        lines += [".TP", f".BR cgagent\\-{_escaped(command.name)} (1)", _escaped(command.help)]
    lines += _options((None, flag) for flag in catalog.global_form())
    return "\n".join(lines) + "\n"


def _page(found: catalog.Described) -> str:
    lines = [
        *_head(f"cgagent-{'-'.join(found.words)}", found.description),
        *_synopsis(found.usage),
        ".SH DESCRIPTION",
        *_paragraphs(found.description),
        *_paragraphs(found.epilog),
        *_options(found.flags),
        ".SH SEE ALSO",
    ]
    others = ["cgagent", *(f"cgagent-{'-'.join((*found.words, verb))}" for verb in found.verbs)]
    lines += [f".BR {_escaped(name)} (1){',' * (name != others[-1])}" for name in others]
    return "\n".join(lines) + "\n"


def _head(name: str, description: str) -> Iterator[str]:
    yield f'.TH {_escaped(name).upper()} 1 "" "cgagent {__version__}" "cgagent"'
    yield ".ad l"  # not justified: flags are long words
    yield ".SH NAME"
    first = re.split(r"[.:;](?:\s|$)", description.strip(), maxsplit=1)[0]
    yield f"{_escaped(name)} \\- {_escaped(first[:1].lower() + first[1:])}"


def _synopsis(usage: str) -> Iterator[str]:
    yield ".SH SYNOPSIS"
    for i, line in enumerate(usage.split("\n")):
        if i:
            yield ".br"
        words = _escaped(" ".join(line.split())).replace("|", "|\\:")  # a line may end there
        yield f".B {words}"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in filter(str.strip, text.split("\n\n")):
        yield ".PP"
        yield _escaped(" ".join(paragraph.split()))


def _options(flags: Iterable[tuple[str | None, Flag]]) -> Iterator[str]:
    """Arguments among them have no help of their own, and stand in the synopsis."""
    last: str | None = ""
    for title, flag in flags:
        about = str(flag.options.get("help", ""))
        if flag.is_argument and not about:
            continue
        if title != last:
            yield f'.SH "{_escaped(title.upper())}"' if title else ".SH OPTIONS"
            last = title
        yield ".TP"
        yield f".B {_escaped(_names(flag))}"
        yield _escaped(about.replace("%%", "%")) or "\\&"


def _names(flag: Flag) -> str:
    if flag.is_argument:
        return str(flag.options.get("metavar", flag.dest))
    names = ", ".join(flag.names)
    if flag.is_switch or flag.action in {"help", "version"}:
        return names
    choices = flag.options.get("choices")
    fallback = "|".join(map(str, choices)) if choices else flag.dest.upper()
    return f"{names} {flag.options.get('metavar') or fallback}"


def _escaped(text: str) -> str:
    """As roff shows it literally; a line that begins with a dot is no request."""
    shown = text.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown
