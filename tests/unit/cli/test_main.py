import re

import pytest

from cgagent.cli import main
from cgagent.errors import InvalidInputError, NotFoundError, from_kind


def run(monkeypatch, capsys, *argv):
    monkeypatch.setattr("sys.argv", ["cgagent", *argv])
    with pytest.raises(SystemExit) as ended:
        main.main()
    output = capsys.readouterr()
    return ended.value.code, output.out, output.err


def test_help_names_every_command(monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, "--help")
    assert (code, err) == (0, "")
    for command in main.COMMANDS:
        assert f"\n  {command.name} " in out
    assert "SUPPRESS" not in out
    assert run(monkeypatch, capsys)[1] == out


@pytest.mark.parametrize("command", [c.name for c in main.COMMANDS])
def test_every_command_has_a_help(monkeypatch, capsys, command):
    code, out, err = run(monkeypatch, capsys, command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: cgagent {command}")
    assert "SUPPRESS" not in out


@pytest.mark.parametrize("command", [c.name for c in main.COMMANDS])
def test_every_verb_has_a_help(monkeypatch, capsys, command):
    _, shown, _ = run(monkeypatch, capsys, command, "--help")
    verbs = re.match(rf"usage: cgagent {command} ([\w|\s]+\|[\w|\s]+) \.\.\.", shown)
    for verb in re.findall(r"\w+", verbs[1]) if verbs else ():
        code, out, err = run(monkeypatch, capsys, command, verb, "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"usage: cgagent {command} {verb}")


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (("nosuch",), "command 'nosuch' is not known; see"),
        (("rnu", "alpine"), "command 'rnu' is not known, did you mean 'run'?"),
        (("run", "--memroy=5m", "alpine"), "did you mean '--memory'?"),
        (("volume", "creat"), "did you mean 'create'?"),
        (("--nosuch", "ps"), "--nosuch"),
        (("rm",), "required: CONTAINER"),
        (("run", "--memory", "x", "i"), "is not a size"),
        (("exec", "c"), "a command is needed"),
        (("logs", "--tail", "x", "c"), "tail"),
    ],
)
def test_wrong_usage_is_one_line_and_125(monkeypatch, capsys, argv, complaint):
    code, out, err = run(monkeypatch, capsys, *argv)
    assert (code, out) == (125, "")
    assert err.startswith("cgagent: ")
    assert complaint in err
    assert err.count("\n") == 1


def test_a_number_of_too_many_digits_is_one_line(monkeypatch, capsys):
    argv = ("group", "create", "--max-containers", "9" * 5000, "team")
    code, _, err = run(monkeypatch, capsys, *argv)
    assert (code, err.count("\n")) == (1, 1)
    assert "too many digits" in err


@pytest.mark.parametrize(
    ("error", "argv", "code"),
    [
        (from_kind("command_not_found", ""), ["run", "i", "x"], 127),
        (from_kind("not_executable", ""), ["--no-start", "exec", "c", "x"], 126),
        (NotFoundError(""), ["run", "i"], 125),
        (NotFoundError(""), ["rm", "run"], 1),
        (InvalidInputError(""), ["stop", "x"], 1),
        (from_kind("invalid_input", ""), ["stop", "x"], 1),
        (main.UsageError(""), ["stop"], 125),
    ],
)
def test_exit_codes(monkeypatch, error, argv, code):
    def fail():
        raise error

    monkeypatch.setattr("sys.argv", ["cgagent", *argv])
    assert main._told(fail) == code
