"""What reaches the guest is the command as it was given, whatever its words hold."""

from __future__ import annotations

import subprocess

from hypothesis import given
from hypothesis import strategies as st

from tests.world.guest import Job

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(word=words, value=words)
def test_words_and_environment_survive_the_shell(word, value):
    job = Job(command=("printf", "%s\n%s", word, value), environment={"VALUE": value})
    script = job.script().replace("exec ", 'test "$VALUE" = "$EXPECTED" && exec ', 1)
    ran = subprocess.run(
        ["sh", "-c", script],
        check=True,
        capture_output=True,
        env={"EXPECTED": value, "PATH": "/usr/bin:/bin"},
    )
    assert ran.stdout == f"{word}\n{value}".encode()


def test_folders_below_tmp_stay_visible_once(tmp_path, monkeypatch):
    monkeypatch.setenv("CGAGENT_TEST_CACHE", str(tmp_path / "cache"))
    kept = Job(command=("true",), directory=tmp_path).kept_folders()
    assert tmp_path in kept
    assert tmp_path / "cache" not in kept
