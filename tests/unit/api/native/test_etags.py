"""Tags of views, and what requests say of them."""

import pytest
from starlette.requests import Request

from cgagent.api.native.etags import condition, tag_of, tagged
from cgagent.errors import ChangedError

VIEW = {"name": "web", "limits": {"pids_max": 5}}
TAG = tag_of(VIEW)


def request(method="GET", **headers):
    given = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return Request({"type": "http", "method": method, "path": "/", "headers": given})


def test_a_tag_is_of_all_that_is_said():
    assert tag_of(dict(reversed(VIEW.items()))) == TAG
    assert tag_of({**VIEW, "name": "x"}) != TAG
    assert TAG[0] == TAG[-1] == '"'


@pytest.mark.parametrize("known", [TAG, f'"x", {TAG}', f"W/{TAG}", "*"])
def test_who_has_it_is_not_told_again(known):
    answer = tagged(request(if_none_match=known), VIEW)
    assert (answer.status_code, answer.body, answer.headers["etag"]) == (304, b"", TAG)


def test_who_has_another_is_told():
    answer = tagged(request(if_none_match='"x"'), VIEW, size=5)
    assert (answer.status_code, answer.headers["etag"]) == (200, TAG)
    assert b'"size":5' in answer.body


@pytest.mark.parametrize("headers", [{}, {"if_match": TAG}, {"if_match": "*"}])
def test_a_condition_that_holds(headers):
    condition(request("POST", **headers), "container 'web'", lambda: VIEW)()


def test_a_condition_in_two_headers_holds_by_either():
    asked = request("POST", if_match='"x"')
    asked.scope["headers"].append((b"if-match", TAG.encode()))
    condition(asked, "container 'web'", lambda: VIEW)()


def test_a_condition_that_does_not():
    check = condition(request("POST", if_match='"x"'), "container 'web'", lambda: VIEW)
    with pytest.raises(ChangedError, match="look at it again") as caught:
        check()
    assert caught.value.object == "container web"
