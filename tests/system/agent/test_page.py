"""The page in a browser, against a real agent with real containers.

``CGAGENT_TEST_PICTURES=FOLDER`` has one test more, which keeps pictures of all views there.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.world import pagescene, typescript
from tests.world.agent import Agent, eventually, free_port
from tests.world.browser import Browser

pytestmark = [pytest.mark.system, pytest.mark.native]

WIDE, PHONE = {"width": 1440, "height": 800}, {"width": 390, "height": 800}
NASTY = (
    "<img src=x onerror=window.hit=1>",
    "<script>window.hit=1</script>",
    "'\"><svg onload=window.hit=1>",
    "javascript:window.hit=1",
    "${window.hit=1}{{window.hit=1}}",
    "\x1b]0;window\x07\x1b[31m<b onmouseover=window.hit=1>",
)


@pytest.fixture(scope="module")
def agent(state_root, alpine_docker_archive):
    port = free_port()
    with (
        tempfile.TemporaryDirectory(dir=state_root) as made,
        Agent(Path(made), "--ui-listen", f"127.0.0.1:{port}") as one,
    ):
        one.load(alpine_docker_archive)
        one.url = f"http://127.0.0.1:{port}"
        yield one


@pytest.fixture(scope="module")
def tokens(agent):
    """By scope."""
    return {
        scope: agent.client.request("POST", "/v1/tokens", {"name": scope, "scope": scope})["token"]
        for scope in ("read", "control")
    }


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def page(agent, tokens, chromium):
    """The page, signed in to control by the link of ``cgagent ui``; in the end it complains not."""
    chromium.open(f"{agent.url}/ui/#token={tokens['control']}", viewport=WIDE)
    chromium.see("text=● live")
    yield chromium
    assert chromium.tell("complaints") == []


@pytest.fixture
def box(agent):
    """A container that echoes and has limits."""
    script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.2; done"
    limits = {"memory_max_bytes": 64 << 20, "cpus": 0.5}
    yield agent.launch("sh", "-c", script, name="box", limits=limits)
    agent.client.request("DELETE", "/v1/containers/box?force=true")


def state(agent, name="box"):
    return agent.client.request("GET", f"/v1/containers/{name}")["state"]["status"]


def test_signing_in(agent, tokens, chromium):
    chromium.open(f"{agent.url}/ui/", viewport=WIDE)
    chromium.fill("#token", "cga_wrong")
    chromium.click("text=Sign in")
    assert "the token is not known here" in chromium.see("[role=alert]")
    chromium.fill("#token", tokens["control"])
    chromium.click("text=Sign in")
    chromium.see("text=● live")
    chromium.tell("reload")
    chromium.see("text=● live")
    chromium.click("text=Sign out")
    chromium.see("#token")
    short = {"name": "short", "scope": "read"}
    token = agent.client.request("POST", "/v1/tokens", short)["token"]
    chromium.fill("#token", token)
    chromium.click("text=Sign in")
    chromium.see("text=● live")
    agent.client.request("DELETE", "/v1/tokens/short")
    chromium.go("#/host")
    assert "the token is not known here" in chromium.see("[role=alert]")
    refusals = chromium.tell("complaints")
    assert all(one.startswith("401 ") for one in refusals)


def test_the_fleet_by_keyboard(agent, box, page):
    page.see("[role=row] >> text=box")
    page.tell("press", "/")
    page.tell("type", "box cpu<9 mem<60m")
    page.see(".search input:focus")
    page.see("[role=row] >> text=box")
    page.tell("locator", "[role=grid]", "focus")
    page.tell("press", "f")
    page.see("text=❄ frozen")
    assert state(agent) == "frozen"
    page.tell("press", "f")
    page.see("[role=row] >> text=● running")
    assert state(agent) == "running"
    page.tell("press", "s")
    assert page.see("dialog code") == "cgagent stop box"
    page.tell("press", "Escape")
    page.gone("dialog")
    assert state(agent) == "running"
    page.fill(".search input", "nobody")
    page.see("text=Nothing here is like that.")
    page.fill(".search input", "")
    page.tell("locator", "[role=grid]", "focus")
    page.tell("press", "Enter")
    page.see("h1 >> text=box")


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
    assert state(agent) == "exited"
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


DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))"


def pointed_at(page, words):
    """Move over the first chart until its caption says what is marked there."""
    width = page.tell("evaluate", "document.querySelector('.u-over').clientWidth")
    seen = set()
    for x in range(0, width, 8):
        page.tell("locator", ".u-over >> nth=0", "hover", {"position": {"x": x, "y": 60}})
        page.tell("evaluate", DRAWN)
        caption = page.see("figcaption")
        if words in caption:
            return caption
        seen.add(caption)
    raise AssertionError(f"{words!r} is marked nowhere: {seen}")


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
            assert told in pointed_at(page, told)
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


def test_a_build_with_what_it_tells(agent, page):
    page.go("#/builds")
    page.click("summary")
    page.fill(".build input >> nth=0", "of-page:2")
    page.fill("textarea", "FROM alpine\nRUN echo told by the build\n")
    page.click(".build button")
    page.see(".build .log >> text=/^told by the build/")
    page.see("text=Built.")
    page.click("tr >> text=Show >> nth=0")
    page.see(".card .log >> text=/^told by the build/ >> nth=-1")
    agent.client.request("DELETE", "/v1/images/of-page:2")


def test_a_pull_with_progress(agent, box, page, registry):
    name = f"{registry.address}/of-page:1"
    for words in (("commit", "box", name), ("push", name), ("rmi", name)):
        done = agent.cli(*words)
        assert done.returncode == 0, done.stderr
    page.go("#/images")
    page.fill(".pull input", name)
    page.click(".pull button")
    page.see(".progress li")
    page.see("text=Pulled")
    page.see(f"[role=row] >> text={name}")
    agent.client.request("DELETE", f"/v1/images/{name}")
    page.fill(".pull input", f"{registry}/library/nosuch")
    page.click(".pull button")
    page.see(".pull .problem")


def test_who_may_only_look(agent, tokens, chromium, box):
    chromium.open(f"{agent.url}/ui/#token={tokens['read']}", viewport=WIDE)
    chromium.see("text=read only")
    chromium.see("[role=row] >> text=box")
    assert chromium.count("[role=row] button.small") == 0
    chromium.go("#/containers/box")
    chromium.see(".chart")
    assert chromium.count(".title button") == 0
    chromium.go("#/containers/box/terminal")
    chromium.see("text=needs a token whose scope is control")
    chromium.go("#/containers/box/limits")
    chromium.see("#cpus[disabled]")
    assert chromium.tell("complaints") == []


def test_an_agent_that_is_killed_and_started_again(agent, box, page):
    agent.kill9()
    page.see("text=The agent does not answer")
    agent.start()
    page.see("text=● live")
    page.see("[role=row] >> text=box")
    page.tell("complaints")  # of the connections that broke off


ADDRESSES = ("constructor", "__proto__/x", "containers", "containers/", "containers/%", "x/%ff")


def test_addresses_that_name_nothing(box, page):
    for address in ADDRESSES:
        page.go(f"#/{address}")
        page.see("[role=alert]" if address == "containers/%" else "[role=grid]")
    page.go("#/containers/box/constructor")
    page.see(".chart")
    complaints = page.tell("complaints")
    assert {one.partition(" ")[0] for one in complaints} == {"404"}, complaints


def test_what_others_wrote_is_text(agent, page):
    labels = {"note": NASTY[0], NASTY[1]: NASTY[2]}
    script = "printf '%s\\n' \"$@\"; sleep 600"
    nasty = agent.launch("sh", "-c", script, "sh", *NASTY, name="nasty", labels=labels)
    agent.client.request("POST", "/v1/volumes", {"name": "nasty", "labels": labels})
    agent.client.request("POST", "/v1/networks", {"name": "nasty", "labels": labels})
    try:
        for place in ("", "/why", "/logs", "/limits", "/terminal", "/processes", "/configuration"):
            page.go(f"#/containers/nasty{place}")
            page.see("h1 >> text=nasty")
            if place == "/logs":
                page.see("text=<img src=x onerror=window.hit=1>")
        page.go("#/jobs")
        page.see("[role=row] >> text=create")
        for room in ("volumes", "networks"):
            page.go(f"#/{room}")
            page.click('[role=gridcell] >> text="nasty"')
            page.see(".detail >> text=onerror")
        for word in NASTY:
            page.go(f"#/containers/{word.replace('/', '')}")
            page.see("[role=alert]")
        assert page.tell("evaluate", "window.hit ?? null") is None
        page.tell("complaints")  # of containers that are not there
    finally:
        agent.client.request("DELETE", f"/v1/containers/{nasty}?force=true")
        agent.client.request("DELETE", "/v1/volumes/nasty")
        agent.client.request("DELETE", "/v1/networks/nasty")


@pytest.fixture
def scene(agent, box):
    with pagescene.scene(agent):
        yield


PICTURES = os.environ.get("CGAGENT_TEST_PICTURES")
OF_A_PHONE = ("fleet", "container", "limits", "host", "cgroups")
"""Those that are otherwise there."""
LOOKS = [("dark", "wide", WIDE), ("light", "phone", PHONE)]


@pytest.mark.parametrize("look", LOOKS)
def test_everybody_can_use_it(agent, tokens, chromium, scene, look):
    """No rule of axe is broken."""
    scheme, shape, size = look
    url = f"{agent.url}/ui/#token={tokens['control']}"
    chromium.open(url, viewport=size, colorScheme=scheme)
    faults = {}
    for name in OF_A_PHONE if shape == "phone" else pagescene.VIEWS:
        view = pagescene.VIEWS[name]
        chromium.see("nav")
        chromium.go(view.place)
        chromium.see(view.shown)
        if found := chromium.tell("faults"):
            faults[name] = found
    assert faults == {}
    assert chromium.tell("complaints") == []


@pytest.mark.skipif(not PICTURES, reason="CGAGENT_TEST_PICTURES names no folder for pictures")
@pytest.mark.timeout(900)
def test_pictures_of_all_views(agent, tokens, chromium, scene):
    """In dark and light, wide and on a phone; axe has nothing against any of them."""
    faults = {}
    with pagescene.more(agent):
        time.sleep(40)  # figures for the lines
        for scheme, (_, shape, size) in itertools.product(("dark", "light"), LOOKS):
            chromium.open(f"{agent.url}/ui/", viewport=size, colorScheme=scheme)
            chromium.see("#token")
            chromium.tell("picture", f"{PICTURES}/login-{scheme}-{shape}.png", {})
            chromium.open(
                f"{agent.url}/ui/#token={tokens['control']}", viewport=size, colorScheme=scheme
            )
            for name, view in pagescene.PICTURES.items():
                chromium.see("nav")
                chromium.go(view.place)
                chromium.see(view.shown)
                pagescene.take(chromium, name, f"{PICTURES}/{name}-{scheme}-{shape}.png")
                if found := chromium.tell("faults"):
                    faults[f"{name} {scheme} {shape}"] = found
    assert faults == {}


def test_the_types_in_its_comments():
    static = Path(__file__).parents[3] / "cgagent" / "api" / "web" / "static"
    assert typescript.complaints_of_page(static) == ""


def test_requests_that_no_page_of_ours_makes(agent, tokens):
    def status(path, **headers):
        request = Request(agent.url + path, headers=headers)  # noqa: S310 - our own
        try:
            return urlopen(request).status  # noqa: S310
        except OSError as e:
            return e.code

    token = {"authorization": f"Bearer {tokens['control']}"}
    assert status("/ui/") == 200
    assert status("/ui/", **{"sec-fetch-site": "cross-site"}) == 200  # a link to it
    refused = Request(f"{agent.url}/ui/", headers={"host": "evil.example"})  # noqa: S310 - our own
    with pytest.raises(HTTPError) as error:
        urlopen(refused)  # noqa: S310
    assert error.value.code == 403
    assert "frame-ancestors 'none'" in error.value.headers["content-security-policy"]
    error.value.close()
    assert status("/v1/fleet") == 401
    assert status("/v1/fleet", **token) == 200
    assert status("/v1/fleet", **token, host="evil.example") == 403
    assert status("/v1/fleet", **token, origin="http://evil.example") == 403
    assert status("/v1/caller", **token) == 200


def test_the_link_of_the_command(agent):
    done = agent.cli("ui", "--expires", "1h")
    assert done.returncode == 0, done.stderr
    link = next(line for line in done.stdout.splitlines() if "/ui/#token=" in line)
    token = link.strip().partition("#token=")[2]
    request = Request(f"{agent.url}/v1/caller", headers={"authorization": f"Bearer {token}"})  # noqa: S310
    assert json.load(urlopen(request))["scope"] == "read"  # noqa: S310
    eventually(lambda: "ssh -N -L" in done.stdout, "no word of ssh")
