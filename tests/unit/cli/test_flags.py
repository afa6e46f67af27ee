"""Scanning says what argparse would say, and leaves the rest to it."""

import argparse
import contextlib
import importlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cli import create_flags, main
from cgagent.cli.flags import REMAINDER, Flags, _Scan, _Unsure
from cgagent.errors import CgagentError


class RefusedError(Exception):
    pass


def refuse(message):
    raise RefusedError(message)


def flags():
    made = Flags(refuse, prog="cgagent x")
    made.add_argument("-e", "--env", action="append", default=[])
    made.add_argument("-i", "--interactive", action="store_true")
    made.add_argument("-t", "--tty", action="store_true")
    made.add_argument("--network", "--net", choices=["none", "host"], default="none")
    made.group("limits")("-m", "--memory")
    made.group("limits")("--cpu-shares", "-c", type=int)
    made.add_argument("image")
    made.add_argument("command", nargs=REMAINDER)
    return made


WORDS = st.sampled_from(
    [
        *("-e", "--env", "A=1", "-i", "-it", "-ti", "--tty", "--network", "--net=host", "host"),
        *("none", "-m", "-m1g", "--memory=", "--memory", "256m", "-c", "7", "-c7", "x", "--"),
        *("-", "-1", "", "-c=7", "--nosuch", "-z", "-ie", "--tty=1", "-h", "a b", "-c=+3"),
    ]
)


@given(st.lists(WORDS, max_size=8))
def test_what_is_scanned_is_what_argparse_says(words):
    made = flags()
    try:
        scanned = _Scan([flag for _, flag in made._flags]).values(list(words))
    except _Unsure:
        return
    if "--" in words:  # after the image it is the command's, as docker has it
        return
    try:
        expected = vars(made._argparse().parse_args(words))
    except RefusedError:  # docker takes --tty=1, and any word as a value
        return
    assert scanned == expected


@pytest.mark.parametrize(
    ("line", "interactive", "tty"),
    [
        ("-i=false --tty=true x", False, True),
        ("-it=false x", True, False),
        ("--interactive=1 --tty=F x", True, False),
        ("--tty --tty=0 x", False, False),
        ("-- x", False, False),
    ],
)
def test_a_switch_may_have_a_value(line, interactive, tty):
    args = flags().parse_args(line.split())
    assert (args.interactive, args.tty, args.image, args.command) == (interactive, tty, "x", [])


def test_every_switch_of_every_command_takes_a_value(monkeypatch):
    """`--flag=true` and `--flag=false`: none has an action that does not know of them."""
    found = []
    monkeypatch.setattr(Flags, "parse_args", lambda self, _: found.append(self) or 1 / 0)
    for command in main.COMMANDS:
        module = importlib.import_module(f"cgagent.cli.{command.module}")
        context = main.Context(command.name, [], SimpleNamespace(no_start=True))
        with contextlib.suppress(ZeroDivisionError, CgagentError, SystemExit):
            getattr(module, command.function)(context)
    switches = [f for made in found for _, f in made._flags if "help" not in f.action]
    assert len(found) > 25
    assert {f.action for f in switches} == {"store", "append", "store_true", "store_false"}


def test_a_value_may_look_like_a_flag():
    assert flags().parse_args(["-e", "-1", "-m", "--tty", "x"]).memory == "--tty"


def test_what_follows_the_image_is_the_commands():
    assert flags().parse_args(["x", "--", "-e"]).command == ["--", "-e"]


def test_most_of_what_people_type_is_scanned(monkeypatch):
    monkeypatch.setattr(Flags, "_argparse", None)
    made = Flags(refuse, prog="cgagent run", add_help=False)
    made.add_argument("-d", "--detach", action="store_true")
    create_flags.add_flags(made)
    line = "--rm -it -m 256m --cpus=0.5 -e A=1 -eB=2 -v /a:/b --name web alpine sh -c true -x"
    args = made.parse_args(line.split())
    assert (args.rm, args.interactive, args.tty, args.detach) == (True, True, True, False)
    assert (args.memory, args.cpus, args.env) == ("256m", "0.5", ["A=1", "B=2"])
    assert (args.image, args.command) == ("alpine", ["sh", "-c", "true", "-x"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--nosuch x", "unrecognized arguments: --nosuch"),
        ("-m", "argument -m/--memory: expected one argument"),
        ("--network bridge x", "argument --network/--net: invalid choice: 'bridge'"),
        ("-c many x", "argument --cpu-shares/-c: invalid int value: 'many'"),
        ("", "the following arguments are required: image"),
    ],
)
def test_what_is_wrong_is_explained(line, words):
    with pytest.raises(RefusedError, match=words):
        flags().parse_args(line.split())


def test_help(capsys):
    with pytest.raises(SystemExit):
        flags().parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "limits:" in shown
    assert "-m, --memory MEMORY" in shown


def test_defaults_are_not_shared():
    made = flags()
    made.parse_args(["-e", "A=1", "x"])
    assert made.parse_args(["x"]).env == []


def test_argparse_is_what_it_is_made_of():
    assert isinstance(flags()._argparse(), argparse.ArgumentParser)
