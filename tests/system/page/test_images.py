"""Images on the page: builds and pulls."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.system, pytest.mark.native]


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
