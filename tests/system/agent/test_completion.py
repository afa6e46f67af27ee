"""Shells complete cgagent's words, and ``man`` shows its pages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cgagent.cli.manual import pages
from tests.world.screen import Screen

pytestmark = [pytest.mark.system, pytest.mark.native]

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
LOADED = {
    "bash": 'eval "$(cgagent completion bash)"',
    "zsh": 'autoload -U compinit; compinit -u -D; eval "$(cgagent completion zsh)"',
    "fish": "cgagent completion fish | source",
}


@pytest.fixture
def command(agent, tmp_path):
    """Where ``cgagent`` completes words as the agent knows them, and says what else it is asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    *interpreter, host, address = agent.cli_command()[:5]
    real = f'CGAGENT_HOST={address} exec {" ".join(interpreter)} "$@"'
    (folder / "cgagent").write_text(
        f'#!/bin/sh\ncase $1 in completion) {real} ;; *) echo "asked for: $*." ;; esac\n'
    )
    assert host == "--host"
    (folder / "cgagent").chmod(0o755)
    return folder


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(command, container, tmp_path, shell):
    container("sleep", "1000", name="box-one")
    (tmp_path / "archive.tar").touch()
    environ = ["env", f"PATH={command}:/usr/bin:/bin", f"HOME={tmp_path}", "TERM=vt100"]
    with Screen([*environ, *SHELLS[shell]], (50, 200)) as screen:
        screen.type(f"cd {tmp_path}; {LOADED[shell]}; echo rea''dy\r")
        screen.expect("ready")
        for typed, completed in (
            ("insp", "inspect"),
            ("volume cre", "volume create"),
            ("run --memory-res", "run --memory-reservation"),
            ("rm -f box-", "rm -f box-one"),
            ("load -i arch", "load -i archive.tar"),
            ("run alpine:late", "run alpine:latest"),
        ):
            screen.type(f"cgagent {typed}\t")
            screen.rest()
            screen.type("\r")
            screen.expect(rf"asked for: {completed} ?\.")


def test_man_renders_every_page_without_a_warning(tmp_path):
    assert shutil.which("man")
    for name, text in pages():
        page = Path(tmp_path, name)
        page.write_text(text)
        shown = subprocess.run(
            ["man", "--warnings", "-l", str(page)],
            check=True,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        )
        assert shown.stderr == ""
        assert "SYNOPSIS" in shown.stdout
