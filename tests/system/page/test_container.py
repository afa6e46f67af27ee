"""One container on the page: what is told of it, and what can be done to it."""

from __future__ import annotations

import pytest

from tests.world.agent import eventually

pytestmark = [pytest.mark.system, pytest.mark.native]

DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))"


def test_limits_with_a_preview(agent, box, page):
    page.go("#/containers/box/limits")
    page.fill("#memory_max_bytes", "33000000")
    page.fill("#cpus", "0.25")
    page.see("[data-name=cpus] >> text=0.25")
    assert "32997376" in page.see("[data-name=memory_max_bytes]")
    assert agent.client.request("GET", "/v1/containers/box")["limits"]["cpu_quota_us"] == 50000
    page.click("text=Apply…")
    assert page.see("dialog code") == "cgagent update --memory 33000000 --cpus 0.25 box"
    page.click("dialog >> text=Apply")
    page.gone("dialog")
    found = agent.client.request("GET", "/v1/containers/box")
    assert found["limits_held"]["memory_max_bytes"] == 32997376
    assert found["limits"]["cpu_quota_us"] == 25000
    page.fill("#cpus", "4000")
    assert "is not in" in page.see("[role=alert]")
    page.tell("complaints")  # the refused preview


def test_a_log_that_is_followed(box, page):
    page.go("#/containers/box/logs")
    page.see("text=line 5")
    page.fill(".logs input[type=search]", "line 3")
    page.see(".logs >> text=/[0-9]+ of [0-9]+ lines|[0-9]+ of/")
    page.gone("text=line 5")


def shells(agent):
    """Beside the first process: those of ``exec``."""
    processes = agent.client.request("GET", "/v1/containers/box/processes")["processes"]
    return sum(one[-1] == "sh" for one in processes)


def test_a_terminal(agent, box, page):
    page.go("#/containers/box/terminal")
    page.click("text=Open a shell")
    page.see("text=Connected")
    page.click(".screen")
    page.tell("type", "echo a''b; stty size\n")
    shown = ".xterm-rows"
    eventually(lambda: "\nab\n" in page.tell("locator", shown, "innerText"), "no echo")
    page.tell("type", "exit\n")
    page.see("text=The shell has ended.")
    page.click("text=Open another shell")
    page.see("text=Connected")
    page.click(".screen")
    page.tell("type", "half a line")
    assert shells(agent) == 1
    page.go("#/host")
    eventually(lambda: shells(agent) == 0, "a shell stays that nobody can come back to")


def test_the_life_of_a_container(agent, box, page):
    page.go("#/containers/box")
    page.see(".chart >> nth=5")
    page.click(".title >> text=Freeze")
    page.see(".title >> text=frozen")
    page.click(".title >> text=Thaw")
    page.see(".title >> text=running")
    page.click(".title >> text=Kill")
    assert page.see("dialog code") == "cgagent kill box"
    page.click("dialog button.danger")
    page.see(".title >> text=/exited/")
    page.see(".events >> text=freeze")
    assert agent.state("box")["status"] == "exited"
    page.click('.title button >> text="Start"')
    page.see(".title >> text=running")
    page.go("#/containers/box/why")
    page.click("text=the next second")
    page.see(".verdict")
    page.tell("complaints")  # of figures that were asked for when it had just ended


def test_one_that_has_ended_and_then_is_removed(agent, page):
    short = agent.launch("echo", "its last words", name="short")
    agent.client.request("POST", f"/v1/containers/{short}/wait")
    page.go("#/containers/short/logs")
    page.see("text=its last words")
    page.see("text=1 line, it does not run")
    agent.client.request("DELETE", f"/v1/containers/{short}")
    page.see(".title >> text=removed")
    assert page.count(".title button") == 0
    assert {one.partition(" ")[0] for one in page.tell("complaints")} <= {"404", "409"}


def test_what_others_hold_it_to(agent, box, page):
    held = {"reason": "it is late", "limits": {"cpus": 0.25}}
    agent.client.request("PUT", "/v1/containers/box/overrides/night", held)
    page.see("[role=row] >> .mark >> text=held")
    page.go("#/containers/box/held")
    page.see("td >> text=it is late")
    agent.cli("update", "--budget", "cpu=1h/24h:freeze", "box")
    agent.client.request("DELETE", "/v1/containers/box/overrides/night")
    page.gone(".title >> .mark")
    page.tell("reload")
    page.see("td >> text=it is frozen")


def captions(page):
    """What the first chart's caption says while the pointer moves over it."""
    width = page.tell("evaluate", "document.querySelector('.u-over').clientWidth")
    for x in range(2, width, 8):
        page.tell("locator", ".u-over >> nth=0", "hover", {"position": {"x": x, "y": 60}})
        page.tell("evaluate", DRAWN)
        yield page.see("figcaption")


def is_marked(page, words):
    """Of what has just happened: the chart has it with its next sample."""
    return eventually(lambda: any(words in text for text in captions(page)), words, timeout_s=30)


def test_what_policies_did_is_on_the_time_axis(agent, page):
    limits, label = {"cpus": 0.5}, {"tier": "marked"}
    wishes = {"budget": "cpu=500ms/1h:throttle=0.1", "boost": "cpus=1,for=2s"}
    busy = ("sh", "-c", "while :; do :; done")
    marked = agent.launch(*busy, name="marked", labels=label, limits=limits, **wishes)
    rules = {
        "name": "look",
        "select": {"label": "tier=marked"},
        "when": {"detector": "cpu-above", "above": 0.01},
        "grade": [{"action": "event", "message": "it is at work"}],
    }
    held = {"reason": "it is late", "limits": {"pids_max": 50}}
    agent.client.request("POST", "/v1/policies", {"ruleset": [rules]})
    try:
        agent.client.request("PUT", "/v1/containers/marked/overrides/night", held)
        page.go("#/containers/marked")
        for told in ("boost", "boost, undone", "budget: throttle", "look: event"):
            page.see(f'.events b >> text="{told}"')
        assert page.see('.events li:has-text("override by night")').endswith("it is late")
        assert page.count('.events >> text="override by budget"') == 0
        assert page.count('.events li:has-text("tier marked")') == 0
        for told in ("boost, undone", "budget: throttle", "override by night"):
            assert is_marked(page, told)
    finally:
        agent.client.request("DELETE", "/v1/policies/look")
        agent.client.request("DELETE", f"/v1/containers/{marked}?force=true")


RECLAIMED = """import("./views/events.js").then(({ reclaimed }) => {
  const totals = [0, 1, 3, 3, 4, 0].map((mebibytes) => mebibytes * 2 ** 20);
  const none = { total: null, isTaking: false, marks: [] };
  return totals.reduce((all, total, i) => reclaimed(all, 10 + 30 * i, total), none);
})"""


def test_memory_that_is_taken_back_is_marked_where_that_begins(page):
    found = page.tell("evaluate", RECLAIMED)["marks"]
    shown = [(one["at"], one["text"]) for one in found]
    assert shown == [(40, "3.0 MiB that nobody needed"), (130, "1.0 MiB that nobody needed")]
