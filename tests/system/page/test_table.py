"""The table of all containers, and addresses that lead back to it."""

from __future__ import annotations

import pytest

from benchmarks.page.standin import StandIn
from tests.world.browser import WIDE

pytestmark = [pytest.mark.system, pytest.mark.native]

ADDRESSES = ("constructor", "__proto__/x", "containers", "containers/", "containers/%", "x/%ff")


def test_the_fleet_by_keyboard(agent, box, page):
    page.see("[role=row] >> text=box")
    page.tell("press", "/")
    page.tell("type", "box cpu<9 mem<60m")
    page.see(".search input:focus")
    page.see("[role=row] >> text=box")
    page.tell("locator", "[role=grid]", "focus")
    page.tell("press", "f")
    page.see("text=❄ frozen")
    assert agent.state("box")["status"] == "frozen"
    page.tell("press", "f")
    page.see("[role=row] >> text=● running")
    assert agent.state("box")["status"] == "running"
    page.tell("press", "s")
    assert page.see("dialog code") == "cgagent stop box"
    page.tell("press", "Escape")
    page.gone("dialog")
    assert agent.state("box")["status"] == "running"
    page.fill(".search input", "nobody")
    page.see("text=Nothing here is like that.")
    page.fill(".search input", "")
    page.tell("locator", "[role=grid]", "focus")
    page.tell("press", "Enter")
    page.see("h1 >> text=box")


def test_addresses_that_name_nothing(box, page):
    for address in ADDRESSES:
        page.go(f"#/{address}")
        page.see("[role=alert]" if address == "containers/%" else "[role=grid]")
    page.go("#/containers/box/constructor")
    page.see(".chart")
    complaints = page.tell("complaints")
    assert {one.partition(" ")[0] for one in complaints} == {"404"}, complaints


def test_of_a_long_table_only_what_is_in_sight_is_made(chromium):
    with StandIn(rows=2000, interval_s=2) as many:
        chromium.open(f"{many.url}/ui/", viewport=WIDE)
        chromium.see("[role=row] >> text=service")
        assert chromium.tell("locator", "[role=grid]", "getAttribute", "aria-rowcount") == "2001"
        chromium.tell("locator", "[role=grid]", "focus")
        for key, row in (("End", 2001), ("PageUp", 1986), ("Home", 2)):
            chromium.tell("press", key)
            chromium.see(f"[role=row].active[aria-rowindex='{row}']")
            assert chromium.count("[role=row]") < 50
        assert chromium.tell("complaints") == []
