"""Variables and quotes in a Dockerfile."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.images.build import words

VARIABLES = {"x": "a.tar.gz", "empty": "", "blank": "p q"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$x", "a.tar.gz"),
        ("${x}y$unset.", "a.tar.gzy."),
        ("${x:-d}", "a.tar.gz"),
        ("${unset:-d $x}", "d a.tar.gz"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${unset-d}", "d"),
        ("${x:+set}", "set"),
        ("${empty:+set}", ""),
        ("${empty+set}", "set"),
        ("${x%.*}", "a.tar"),
        ("${x%%.*}", "a"),
        ("${x#*.}", "tar.gz"),
        ("${x##*.}", "gz"),
        ("${x/a/b}", "b.tar.gz"),
        ("${x//a/$empty-}", "-.t-r.gz"),
        ("${x//./}", "atargz"),
        ("${unset:-${empty:-deep}}", "deep"),
        ("'$x'", "$x"),
        ('"$x b"', "a.tar.gz b"),
        ("\\$x", "$x"),
        ('"\\$x \\n"', "$x \\n"),
        ("a$", "a$"),
        ("a\\ b", "a b"),
    ],
)
def test_what_a_word_becomes(text, expected):
    assert words.expanded(text, VARIABLES) == expected


def test_the_escape_may_be_another_one():
    assert words.expanded("`$x C:\\$x", VARIABLES, "`") == "$x C:\\a.tar.gz"


@pytest.mark.parametrize("text", ["${", "${x", "${x!y}", "'a", '"a', "${unset:?no value}"])
def test_what_is_refused(text):
    with pytest.raises(words.WordError):
        words.expanded(text, VARIABLES)


def test_the_blanks_of_values_split_words_unless_they_are_quoted():
    assert words.words('a=$blank "b $blank" c\\ d', VARIABLES) == ["a=p", "q", "b p q", "c d"]


def test_words_are_split_before_their_quotes_go():
    assert words.split("a='b c' \"d e\"  f\\ g") == ["a='b c'", '"d e"', "f\\ g"]


def test_a_text_keeps_its_quotes():
    assert words.in_text("$x '$x' \\$x \\n\n", VARIABLES) == "a.tar.gz 'a.tar.gz' $x \\n\n"


@given(st.text())
def test_what_single_quotes_enclose_is_kept(text):
    quoted = "'" + text.replace("'", "'\"'\"'") + "'"
    assert words.expanded(quoted, VARIABLES) == text
    assert words.words(f"{quoted} b", VARIABLES)[:1] == [text]


@given(st.text())
def test_any_text_is_expanded_or_refused(text):
    try:
        words.words(text, VARIABLES)
    except words.WordError:
        return


@given(st.text("ab*?", min_size=1, max_size=6), st.text("ab", max_size=8))
def test_patterns_are_those_of_a_shell(pattern, value):
    whole = re.compile("".join({"*": ".*", "?": "."}.get(c, c) for c in pattern))
    starts = [n for n in range(len(value) + 1) if whole.fullmatch(value[:n])]
    ends = [n for n in range(len(value) + 1) if whole.fullmatch(value[n:])]
    found = {op: words.expanded(f"${{x{op}{pattern}}}", {"x": value}) for op in ("##", "%", "%%")}
    assert found["##"] == value[max(starts, default=0) :]
    assert found["%"] == value[: max(ends, default=len(value))]
    assert found["%%"] == value[: min(ends, default=len(value))]
    replaced = words.expanded(f"${{x/{pattern}/-}}", {"x": value})
    assert replaced == whole.sub("-", value, count=1)


def test_no_pattern_takes_long():
    a = {"x": "a" * 4000}
    for operator in ("#", "##", "%", "%%", "/"):
        pattern = "*a" * 20 + "*b"
        assert words.expanded(f"${{x{operator}{pattern}}}", a) == a["x"]
    assert len(words.split("a " * 100_000)) == 100_000
    with pytest.raises(words.WordError, match="to replace"):
        words.expanded("${x/b/c}", {"x": "a" * 5000})
    with pytest.raises(words.WordError, match="have over"):
        words.expanded("$x" * 1000, a)
