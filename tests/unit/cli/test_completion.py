"""Words for a shell, whatever stands before them and whoever does not answer."""

import socket

import pytest

from cgagent.cli import completion
from cgagent.cli.main import Context, global_flags


def words_after(capsys, *words):
    context = Context("completion", ["words", "--", *words], global_flags().parse_args(()))
    assert completion.completion(context) == 0
    return [line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("flag", ["-h", "--help", "--version"])
def test_a_flag_that_prints_something_prints_nothing_here(capsys, flag):
    assert words_after(capsys, flag, "inspe") == ["inspect"]


def test_an_agent_that_does_not_answer_is_not_waited_for(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(completion, "_PATIENCE_S", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        assert words_after(capsys, "-H", f"unix://{tmp_path}/s", "inspect", "") == []
