"""The text of a Dockerfile, and its instructions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.images.build.syntax import Heredoc, parse


def instructions(text):
    return [(i.name, i.flags, i.arguments) for i in parse(text.encode()).instructions]


def test_lines_go_on_and_comments_are_left_out():
    text = "# a comment\n\n  from a\nRUN x \\\n  # between\n\n  && y \\  \n && z\nCMD \\\\\n"
    assert instructions(text) == [
        ("FROM", (), "a"),
        ("RUN", (), "x   && y  && z"),
        ("CMD", (), "\\\\"),
    ]


def test_another_escape_character():
    found = parse(b"#escape=`\nFROM a\nRUN dir C:\\ `\n  x\n")
    assert found.escape == "`"
    assert found.instructions[1].arguments == "dir C:\\   x"


def test_directives_are_at_the_top():
    found = parse(
        b"# syntax=docker/dockerfile:1\r\n# check=skip=all\r\n#\n# escape=`\r\nFROM a\r\n"
    )
    assert (found.syntax, found.escape) == ("docker/dockerfile:1", "\\")


def test_flags():
    ((_, flags, rest),) = instructions('RUN --mount=type=cache,target=/x --network="none" --x y')
    assert flags == (("mount", "type=cache,target=/x"), ("network", "none"), ("x", None))
    assert rest == "y"


def test_heredocs():
    text = (
        "RUN <<A cat <<-'B' > /x\nhi $x\nA\n\t\ttab\n\tB\n"
        'COPY <<"C" <<D /y/\nc\nC\nD\n'
        "RUN echo '<<E' \"<<F\" 1<<G\nG\n"
        'CMD ["<<H"]\n'
    )
    found = [i.heredocs for i in parse(text.encode()).instructions]
    assert found == [
        (Heredoc("A", "hi $x\n"), Heredoc("B", "tab\n", expands=False)),
        (Heredoc("C", "c\n", expands=False), Heredoc("D", "")),
        (Heredoc("G", ""),),
        (),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no instructions"),
        ("# only a comment", "no instructions"),
        ("FROM a\nFOO b", "line 2: unknown instruction: FOO"),
        ("FROM a\n\nRUN", "line 3: RUN requires at least one argument"),
        ("FROM a\nRUN <<A\nx", "line 2: unterminated heredoc A"),
        ("# escape=x\nFROM a", "invalid escape directive"),
        ("# escape=`\n# escape=`\nFROM a", "only one escape"),
        ("FROM a\nRUN \0", "line 2: it has a NUL"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(InvalidInputError, match=message):
        parse(text.encode())


def test_what_is_not_text_is_refused():
    with pytest.raises(InvalidInputError, match="line 2: it is not UTF-8"):
        parse(b"FROM a\nRUN \xff")


@given(
    st.lists(st.sampled_from(["FROM a", "RUN x \\", "<<A", "A", "#c", "COPY <<A /b", "`", "\\"]))
)
def test_any_lines_are_parsed_or_refused(lines):
    try:
        found = parse("\n".join(lines).encode())
    except InvalidInputError:
        return
    assert found.instructions
