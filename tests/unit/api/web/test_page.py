"""The page's files: which there are, how they are sent, and what they may not do."""

import asyncio
import posixpath
import re
from importlib import resources

import httpx
import pytest

from cgagent.api.web import page

STATIC = resources.files("cgagent.api.web") / "static"
OURS = [f for f in STATIC.rglob("*") if f.is_file() and "vendor" not in f.parts]


def ask(path, method="GET", headers=None):
    async def answer():
        transport = httpx.ASGITransport(app=page.serve)
        async with httpx.AsyncClient(transport=transport, base_url="http://agent") as browser:
            return await browser.request(method, path, headers=headers)

    return asyncio.run(answer())


def test_the_index_and_its_headers():
    found = ask("/ui/")
    assert found.status_code == 200
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    policy = found.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert found.headers["x-content-type-options"] == "nosniff"
    assert "<noscript>" in found.text


def test_a_page_that_is_the_same_is_not_sent_again():
    first = ask("/ui/main.js")
    again = ask("/ui/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_without_its_slash_it_is_sent_on():
    found = ask("/ui")
    assert (found.status_code, found.headers["location"]) == (308, "/ui/")


@pytest.mark.parametrize(
    "path",
    ["/ui/nosuch.js", "/ui/../page.py", "/ui/%2e%2e/page.py", "/ui//index.html", "/ui/vendor"],
)
def test_nothing_else_is_there(path):
    assert ask(path).status_code == 404


def test_every_file_is_sent_as_what_it_is():
    for one in (f for f in STATIC.rglob("*") if f.is_file()):
        found = ask(f"/ui/{one.relative_to(STATIC)}")
        assert found.status_code == 200
        own_module = one.suffix == ".js" and one in OURS
        sent = page.without_comments(one.read_bytes()) if own_module else one.read_bytes()
        assert found.content == sent
        assert found.headers["content-encoding"] == "gzip"


def test_a_module_without_its_comments_has_the_same_lines():
    module = (
        b"/** It\n * adds. */\nconst a = (/** @type {any} */ b) => b / 2; /* why */\n/** end */\n"
    )
    sent = page.without_comments(module)
    assert sent == b"\n\nconst a = ( b) => b / 2; /* why */\n\n"


def test_what_browsers_take_best():
    found = ask("/ui/page.css", headers={"accept-encoding": "gzip, br, zstd"})
    assert found.headers["content-encoding"] == "zstd"
    assert page.zstd.decompress(found.content) == (STATIC / "page.css").read_bytes()
    assert "content-encoding" not in ask("/ui/page.css", headers={"accept-encoding": "br"}).headers


def test_only_get():
    found = ask("/ui/", "POST")
    assert (found.status_code, found.headers["allow"]) == (405, "GET, HEAD")
    assert "frame-ancestors 'none'" in found.headers["content-security-policy"]


def test_whatever_a_module_imports_is_shipped():
    for one in (f for f in OURS if f.suffix == ".js"):
        for name in re.findall(r"(?:from|import\()\s*[\"'](\.[^\"']+)", one.read_text()):
            assert (one.parent / name).is_file(), f"{one.name} imports {name}"


def test_nothing_that_the_policy_forbids():
    index = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?! [^>]*src=)", index)
    for one in OURS:
        text = one.read_text()
        assert not re.search(r"\beval\(|new Function|innerHTML|insertAdjacentHTML", text), one.name
        assert "https://" not in text, f"{one.name} names another host"


def test_the_whole_is_small():
    """As the browsers of today get it; most of it is the terminal, which is fetched when needed."""
    files = [f for f in STATIC.rglob("*") if f.is_file() and f.suffix in {".js", ".css", ".html"}]
    names = [f.relative_to(STATIC).as_posix() for f in files]
    assert sum(len(page._compressed(name, "zstd")) for name in names) <= 150 * 1024
    assert sum(len(page._compressed(name, "gzip")) for name in names) <= 160 * 1024


def test_what_is_needed_first_is_fetched_at_once():
    """All that main.js imports before a view is opened: no module waits for another to be read."""
    index = (STATIC / "index.html").read_text()
    needed, waiting = set(), ["main.js"]
    while waiting:
        module = waiting.pop()
        for name in re.findall(r"(?:from)\s*[\"'](\.[^\"']+)", (STATIC / module).read_text()):
            found = posixpath.normpath(posixpath.join(posixpath.dirname(module), name))
            if found not in needed:
                needed.add(found)
                waiting.append(found)
    assert set(re.findall(r'modulepreload" href="([^"]+)"', index)) == needed


def test_others_come_with_version_and_licence():
    versions = (STATIC / "vendor" / "VERSIONS.txt").read_text().splitlines()
    assert len(versions) == 5
    assert {line.rsplit(" ", 1)[1] for line in versions} == {"MIT", "Apache-2.0"}
    assert {f.name for f in (STATIC / "vendor").glob("LICENSE-*")} == {
        *("LICENSE-htm.txt", "LICENSE-preact.txt", "LICENSE-uplot.txt", "LICENSE-xterm.txt")
    }
