"""A browser is opened where somebody sits, and nobody else sees the link."""

import os
import re
import stat
import tempfile

import pytest

from cgagent.cli import browsing

LINK = "http://127.0.0.1:9754/ui/#token=cga_1&2"


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """A file with what the browser is given."""
    (tmp_path / "bin").mkdir()
    browser = tmp_path / "bin" / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >{tmp_path}/seen\n')
    browser.chmod(0o755)
    (tmp_path / "made").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "made"))
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.delenv("SUDO_UID", raising=False)
    return tmp_path / "seen"


def test_the_browser_is_given_a_file_that_leads_there(seen):
    assert browsing.open_link("http://earlier")
    assert browsing.open_link(LINK)
    (page,) = (seen.parent / "made").iterdir()
    assert seen.read_text() == f"file://{page}\n"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert re.search(r'url=(.*)">', page.read_text())[1] == LINK.replace("&", "&amp;")


def test_without_a_browser_it_says_so(seen, monkeypatch):
    monkeypatch.setenv("BROWSER", "/nowhere/browser")
    monkeypatch.setenv("PATH", "/nowhere")
    assert not browsing.open_link(LINK)


@pytest.mark.parametrize(
    ("variables", "there"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "1.2.3.4 1 5.6.7.8 22"}, False),
    ],
)
def test_a_display(monkeypatch, variables, there):
    monkeypatch.setattr(os, "environ", variables)
    assert browsing.has_display() is there
