"""The page escapes text, passes axe in each look, and its modules pass the type checker.

``CGAGENT_TEST_PICTURES=FOLDER`` has one test more, which keeps pictures of all views there.
"""

from __future__ import annotations

import itertools
import os
import time
from importlib import resources
from pathlib import Path

import pytest

from tests.world import pagescene, typescript
from tests.world.browser import PHONE, WIDE

pytestmark = [pytest.mark.system, pytest.mark.native]

NASTY = (
    "<img src=x onerror=window.hit=1>",
    "<script>window.hit=1</script>",
    "'\"><svg onload=window.hit=1>",
    "javascript:window.hit=1",
    "${window.hit=1}{{window.hit=1}}",
    "\x1b]0;window\x07\x1b[31m<b onmouseover=window.hit=1>",
)

PICTURES = os.environ.get("CGAGENT_TEST_PICTURES")
OF_A_PHONE = ("fleet", "container", "limits", "host", "cgroups")
"""The views that axe looks at on a phone; on a wide screen it looks at all."""
LOOKS = [("dark", "wide", WIDE), ("light", "phone", PHONE)]


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
    static = resources.files("cgagent.api.web") / "static"
    assert typescript.complaints_of_page(Path(str(static))) == ""
