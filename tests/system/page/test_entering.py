"""The page lets in whoever has a token, and the agent refuses requests from other pages."""

from __future__ import annotations

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.world.agent import eventually
from tests.world.browser import WIDE

pytestmark = [pytest.mark.system, pytest.mark.native]


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
