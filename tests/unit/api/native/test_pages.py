"""Pages of lists that change while they are read."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from cgagent.api.native.pages import Page
from cgagent.errors import InvalidInputError


def asked(limit=None, after="", query=b""):
    scope = {"type": "http", "path": "/v1/things", "query_string": query, "headers": []}
    response = Response()
    return Page(Request(scope), response, limit, after), response


def read(items, limit, *, descending=False, between=lambda: None):
    """All of it, page by page."""
    after, told = "", []
    while True:
        page, response = asked(limit, after, f"limit={limit}&filter=a%3Db".encode())
        told += page.of(items, lambda n: [n], descending=descending)
        link = response.headers.get("link")
        if link is None:
            return told
        found = re.fullmatch(
            r"</v1/things\?limit=\d+&filter=a%3Db&after=(\S+)>; rel=\"next\"", link
        )
        after = found[1]
        between()


@given(st.sets(st.integers()), st.integers(1, 9), st.booleans())
def test_pages_make_the_whole(items, limit, descending):
    assert read(items, limit, descending=descending) == sorted(items, reverse=descending)


def test_without_a_limit_a_list_is_as_it_is():
    page, response = asked()
    assert page.of([3, 1, 2], lambda n: n) == [3, 1, 2]
    assert "link" not in response.headers


def test_what_comes_and_goes_moves_nothing_else():
    items = set(range(0, 40, 2))

    def change():
        items.discard(max(items))
        items.add(-len(items))
        items.discard(2)

    told = read(items, 3, between=change)
    assert sorted(told) == told
    assert len(told) == len(set(told))
    assert set(range(4, 20, 2)) <= set(told)


@pytest.mark.parametrize("cursor", ["x", "%%%", "WzFd.", "ImEi", "bnVsbA", "é"])
def test_what_is_no_cursor(cursor):
    with pytest.raises(InvalidInputError, match="no cursor of this list"):
        asked(2, cursor)[0].of([1, 2, 3], lambda n: [n])


def test_a_path_is_quoted():
    scope = {"type": "http", "path": "/v1/a b", "query_string": b"", "headers": []}
    page = Page(Request(scope), SimpleNamespace(headers={}), 1, "")
    assert page.link_header("k").startswith("</v1/a%20b?after=")
