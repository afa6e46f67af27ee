"""An example of each operation, for the OpenAPI document: what is sent, and what comes back.

They are a story, told in order: a test sends them one after the other to a real agent and holds the
answers against these. What no two agents have the same stands for itself: ids, the pid 4711 of a
process of the host's, /srv/alpine.tar, an archive, and registry.example:5000, a registry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

WEB: Final = "8a4f0c6f1a5b2f0e5d0c4b3a29181716f5e4d3c2b1a09f8e7d6c5b4a39281706"
EXEC: Final = "c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4"
NETWORK: Final = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988"
IMAGE: Final = "sha256:25109184c71bdad752c8312a8623239686a9a2071e8825f20acb8f2198c3f659"
KEY: Final = "5f0c9d7e-3b1a-4c55-9c1e-0d6b7a8f9e10"
JOB: Final = 7
NS: Final = 1764460800000000000


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    operation: str
    """``METHOD PATH``, as the document has the path."""
    names: dict[str, Any] = field(default_factory=dict)
    """What stands for the path's parameters."""
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    status: int = 200
    answer: Any = None
    """Some of the fields; of a stream its last line; None: no JSON."""


def _web(operation: str, **more: Any) -> Example:
    method, _, verb = operation.partition(" ")
    path = f"{method} /v1/containers/{{reference}}{verb and '/'}{verb}"
    return Example(operation=path, **{"names": {"reference": "web"}, **more})


_STATE: Final = {"status": "running", "pid": 4812, "started_ns": NS, "exit_code": None}
_CONTAINER: Final = {
    "id": WEB,
    "name": "web",
    "image": "docker.io/library/alpine:latest",
    "created_ns": NS,
    "args": ["sh"],
    "labels": {"tier": "front"},
    "state": _STATE,
    "restart_count": 0,
}
_SLEEP: Final = {
    "id": WEB,
    "name": "web",
    "since_ns": NS,
    "by": "user",
    "hears_packets": True,
    "memory_before_bytes": 62914560,
    "memory_after_bytes": 4194304,
}
_LIMITS: Final = {"memory_max_bytes": 268435456, "pids_max": 100}
_VOLUME: Final = {
    "name": "data",
    "driver": "local",
    "created_ns": NS,
    "anonymous": False,
    "labels": {"keep": "yes"},
    "mountpoint": "/var/lib/cgagent/volumes/data/_data",
    "containers": [],
}
_NETWORK: Final = {
    "id": NETWORK,
    "name": "back",
    "driver": "bridge",
    "created_ns": NS,
    "internal": False,
    "ipv6": False,
    "labels": {},
    "subnets": [{"subnet": "10.77.0.0/24", "gateway": "10.77.0.1", "ip_range": None}],
    "containers": [],
}
_IMAGE: Final = {
    "id": IMAGE,
    "names": ["docker.io/library/alpine:latest"],
    "size_bytes": 8311808,
    "architecture": "amd64",
}
_JOB: Final = {
    "id": JOB,
    "name": "create",
    "arguments": {"image": "alpine"},
    "status": "done",
    "progress": "",
    "error": None,
    "started_at": 1764460800.25,
    "duration_s": 0.004,
    "steps": [{"name": "resolve", "started_at": 1764460800.25, "duration_s": 0.001}],
}
_EXEC: Final = {
    "id": EXEC,
    "container_id": WEB,
    "status": "created",
    "args": ["sleep", "60"],
    "tty": True,
    "pid": None,
    "exit_code": None,
}

_AGENT: Final = (
    Example(operation="GET /v1/version", answer={"version": "0.1.0", "api_version": "1"}),
    Example(
        operation="GET /v1/info",
        answer={"version": "0.1.0", "pid": 812, "cgroup_layout": "v2", "images": 1},
    ),
    Example(operation="GET /-/healthy"),
    Example(operation="GET /-/ready"),
    Example(operation="GET /metrics"),
    Example(operation="GET /v1/host", answer={}),
    Example(operation="GET /v1/registries", answer=[]),
    Example(
        operation="POST /v1/tokens",
        body={"name": "grafana", "scope": "metrics", "lifetime_s": 86400},
        status=201,
        answer={"name": "grafana", "token": "cga_YWxsIHlvdXIgY2dyb3Vwcw"},
    ),
    Example(
        operation="GET /v1/tokens",
        query={"limit": 10},
        answer=[{"name": "grafana", "scope": "metrics", "created_ns": NS, "expires_ns": NS}],
    ),
    Example(operation="DELETE /v1/tokens/{name}", names={"name": "grafana"}, status=204),
)

_IMAGES: Final = (
    Example(
        operation="POST /v1/images/load",
        body={"path": "/srv/alpine.tar"},
        answer={"images": [_IMAGE]},
    ),
    Example(
        operation="POST /v1/images/tag",
        body={"source": "alpine", "name": "registry.example:5000/alpine:mine"},
        status=201,
        answer=_IMAGE,
    ),
    Example(
        operation="POST /v1/images/push",
        body={"name": "registry.example:5000/alpine:mine"},
        answer={"pushed": [{"tag": "mine", "digest": IMAGE, "size_bytes": 528}]},
    ),
    Example(
        operation="POST /v1/images/pull",
        body={"name": "registry.example:5000/alpine:mine"},
        answer={"image": _IMAGE, "reference": "registry.example:5000/alpine:mine"},
    ),
    Example(
        operation="POST /v1/registries/login",
        headers={"X-Registry-Auth": "eyJ1c2VybmFtZSI6ICJtZSIsICJwYXNzd29yZCI6ICJzZWNyZXQifQ=="},
        body={"registry": "registry.example:5000"},
        answer={"status": "Login Succeeded", "identity_token": ""},
    ),
    Example(
        operation="GET /v1/search",
        query={"term": "registry.example:5000/alp", "limit": 5},
        answer=[],
    ),
    Example(
        operation="GET /v1/images",
        query={"filter": "reference=alpine", "limit": 20},
        answer=[_IMAGE],
    ),
    Example(
        operation="GET /v1/images/{name}",
        names={"name": "alpine"},
        answer={**_IMAGE, "document": {"architecture": "amd64", "os": "linux"}},
    ),
    Example(operation="GET /v1/images/save", query={"names": "alpine"}),
    Example(operation="POST /v1/images/import", query={"name": "tree:1"}, answer={"image": {}}),
    Example(
        operation="DELETE /v1/images/{name}",
        names={"name": "tree:1"},
        answer={"lines": ["Untagged: tree:1"]},
    ),
    Example(operation="POST /v1/images/prune", query={"all": False}, answer={"freed_bytes": 0}),
    Example(
        operation="POST /v1/build",
        body={"names": ["app:1"], "limits": {"memory_max_bytes": 268435456}},
        answer={"image": {"names": ["docker.io/library/app:1"]}, "report": {}, "warnings": []},
    ),
    Example(operation="GET /v1/build/{job_id}/output", names={"job_id": JOB}, status=404),
    Example(operation="GET /v1/build/cache", answer=[{"uses": 1, "size_bytes": 512}]),
    Example(operation="POST /v1/build/prune", query={"keep_bytes": 0}, answer={"freed_bytes": 512}),
)

_VOLUMES_AND_NETWORKS: Final = (
    Example(
        operation="POST /v1/volumes",
        headers={"Idempotency-Key": f"{KEY}-1"},
        body={"name": "data", "labels": {"keep": "yes"}},
        status=201,
        answer=_VOLUME,
    ),
    Example(
        operation="GET /v1/volumes", query={"filter": "label=keep", "limit": 50}, answer=[_VOLUME]
    ),
    Example(operation="GET /v1/volumes/{name}", names={"name": "data"}, answer=_VOLUME),
    Example(
        operation="POST /v1/networks",
        headers={"Idempotency-Key": f"{KEY}-2"},
        body={"name": "back", "subnets": [{"subnet": "10.77.0.0/24"}]},
        status=201,
        answer=_NETWORK,
    ),
    Example(
        operation="GET /v1/networks", query={"filter": "name=back", "limit": 50}, answer=[_NETWORK]
    ),
    Example(operation="GET /v1/networks/{reference}", names={"reference": "back"}, answer=_NETWORK),
    Example(
        operation="GET /v1/networks/findings",
        answer=[],
    ),
)

_CONTAINERS: Final = (
    Example(
        operation="POST /v1/containers",
        headers={"Idempotency-Key": KEY},
        body={
            "image": "alpine",
            "command": ["sh"],
            "name": "web",
            "tty": True,
            "stdin": True,
            "labels": {"tier": "front"},
            "limits": _LIMITS,
        },
        status=201,
        answer={"id": WEB, "name": "web"},
    ),
    _web("POST start", status=204),
    Example(
        operation="GET /v1/containers",
        query={"filter": "label=tier=front", "limit": 100},
        answer=[_CONTAINER],
    ),
    _web("GET ", answer={**_CONTAINER, "limits": _LIMITS, "limits_held": _LIMITS, "drift": []}),
    _web("POST resize", query={"h": 40, "w": 120}, status=204),
    _web("POST update", body={"pids_max": 200}, answer={**_CONTAINER, "limits": {"pids_max": 200}}),
    Example(
        operation="PUT /v1/containers/{reference}/overrides/{owner}",
        names={"reference": "web", "owner": "night-shift"},
        body={"reason": "batch work has the node until six", "limits": {"cpus": 0.2}},
        answer={"overrides": [{"owner": "night-shift", "since_ns": NS}]},
    ),
    Example(
        operation="DELETE /v1/containers/{reference}/overrides/{owner}",
        names={"reference": "web", "owner": "night-shift"},
        status=204,
    ),
    _web("GET processes", answer={"pids": [4812], "titles": ["UID", "PID"], "processes": []}),
    _web(
        "GET stats",
        answer={"id": WEB, "name": "web", "status": "running", "at_s": 1764460801.5, "usage": {}},
    ),
    Example(operation="GET /v1/stats", answer=[{"name": "web", "at_s": 1764460801.5}]),
    Example(
        operation="GET /v1/fleet",
        answer={"whole": True, "facts": {}, "figures": {}, "last_event": 42},
    ),
    Example(operation="GET /v1/caller", answer={"via": "user", "name": "0", "scope": "admin"}),
    _web(
        "GET why",
        query={"window_s": 0.2},
        answer={"container": "web", "status": "running", "lost": {}, "neighbours": []},
    ),
    _web("POST freeze", query={"lease_s": 30}, status=204),
    _web("POST thaw", status=204),
    _web("POST hibernate", query={"lease_s": 28800}, answer=_SLEEP),
    _web("POST thaw", status=204),
    _web(
        "POST exec",
        headers={"Idempotency-Key": f"{KEY}-3"},
        query={"start": False},
        body={"command": ["sleep", "60"], "tty": True},
        answer={"id": EXEC, "pid": None},
    ),
    _web("GET exec", answer=[_EXEC]),
    Example(operation="GET /v1/exec/{exec_id}", names={"exec_id": EXEC}, answer=_EXEC),
    Example(
        operation="POST /v1/exec/{exec_id}/start",
        names={"exec_id": EXEC},
        answer={"id": EXEC, "pid": 4819},
    ),
    Example(
        operation="POST /v1/exec/{exec_id}/resize",
        names={"exec_id": EXEC},
        query={"h": 40, "w": 120},
        status=204,
    ),
    _web(
        "POST exec",
        query={"start": False},
        body={"command": ["sh"], "tty": True},
        answer={"id": EXEC, "pid": None},
    ),
    Example(
        operation="GET /v1/exec/{exec_id}/ws",
        names={"exec_id": EXEC},
        headers={
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
        status=101,
    ),
    _web("POST attach", headers={"Connection": "Upgrade", "Upgrade": "tcp"}, status=101),
    Example(
        operation="POST /v1/containers/run",
        headers={"Connection": "Upgrade", "Upgrade": "tcp"},
        query={"stdin": False},
        body={"image": "alpine", "command": ["true"], "auto_remove": True},
        status=101,
    ),
    Example(
        operation="POST /v1/networks/{reference}/connect",
        names={"reference": "back"},
        body={"container": "web", "aliases": ["front"]},
        status=204,
    ),
    Example(
        operation="POST /v1/networks/{reference}/disconnect",
        names={"reference": "back"},
        body={"container": "web"},
        status=204,
    ),
    _web("POST traffic", status=204),
    _web("DELETE traffic", status=204),
)

_FILES: Final = (
    _web("PUT archive", query={"path": "/tmp"}, status=204),  # noqa: S108 - in the container
    _web("HEAD archive", query={"path": "/etc/os-release"}),
    _web("GET archive", query={"path": "/etc/os-release"}),
    _web("GET changes", answer=[{"path": "/tmp/hello", "kind": "A"}]),  # noqa: S108
    _web("GET export"),
    _web("POST commit", body={"name": "web:2", "message": "with a hello"}, answer={"image": {}}),
)

_ENDS: Final = (
    _web("GET logs", query={"tail": 10}),
    _web("POST restart", query={"timeout_s": 0}, status=204),
    _web("POST rename", query={"name": "old-web"}, status=204),
    _web("POST kill", names={"reference": "old-web"}, query={"signal": "KILL"}, status=204),
    _web("POST wait", names={"reference": "old-web"}, answer={"exit_code": 137}),
    _web("POST stop", names={"reference": "old-web"}, query={"timeout_s": 5}, status=204),
    _web("DELETE ", names={"reference": "old-web"}, query={"volumes": True}, status=204),
    Example(
        operation="POST /v1/containers/adopt",
        body={"pid": 4711, "name": "db", "limits": {"memory_max_bytes": 2147483648}},
        status=201,
        answer={"id": WEB, "name": "db"},
    ),
    _web("POST release", names={"reference": "db"}, status=204),
    Example(
        operation="POST /v1/containers/prune",
        query={"filter": "label=gone"},
        answer={"removed": [], "freed_bytes": 0},
    ),
    Example(operation="DELETE /v1/networks/{reference}", names={"reference": "back"}, status=204),
    Example(operation="POST /v1/networks/prune", answer={"removed": []}),
    Example(operation="DELETE /v1/volumes/{name}", names={"name": "data"}, status=204),
    Example(
        operation="POST /v1/volumes/prune",
        query={"all": True},
        answer={"removed": [], "freed_bytes": 0},
    ),
    Example(
        operation="GET /v1/events",
        query={"filter": "type=container", "limit": 1},
        answer={
            "number": 17,
            "time_ns": NS,
            "type": "container",
            "action": "create",
            "id": WEB,
            "attributes": {"image": "docker.io/library/alpine:latest", "name": "web"},
        },
    ),
)

_RULESET: Final = {
    "name": "calm-batch",
    "select": {"label": "tier=front"},
    "when": {"detector": "pressure-above", "resource": "cpu", "kind": "some", "above": "20%"},
    "against": {"label": "tier=batch", "most": "cpu"},
    "grade": [
        {"action": "weight", "cpu": 1},
        {"action": "freeze", "for": "10s", "after": "15s"},
    ],
}
_POLICY: Final = {
    "name": "calm-batch",
    "description": "",
    "origin": "",
    "created_ns": NS,
    "dry_run": False,
    "actions": ["weight", "freeze"],
    "watched": 0,
    "in_force": 0,
    "unknown": "",
}
_GROUP: Final = {
    "name": "team-a",
    "status": "thawed",
    "containers": ["web"],
    "running": 1,
    "groups": [],
    "max_containers": 10,
    "limits": {"memory_max_bytes": 1073741824},
    "overrides": [],
    "budget": "cpu=36000s/86400s",
    "reclaim": "",
    "budgets": [{"resource": "cpu", "amount": 36000000000000, "state": "within"}],
}


def _group(operation: str, **more: Any) -> Example:
    method, _, verb = operation.partition(" ")
    path = f"{method} /v1/groups/{{name}}{verb and '/'}{verb}"
    return Example(operation=path, names={"name": "team-a"}, **more)


_GROUPS: Final = (
    Example(
        operation="POST /v1/groups",
        body={
            "name": "team-a",
            "limits": {"memory_max_bytes": 1073741824},
            "max_containers": 10,
            "budget": "cpu=10h/24h",
        },
        status=201,
        answer={**_GROUP, "containers": [], "running": 0},
    ),
    _web("POST group", body={"group": "team-a"}, answer={**_CONTAINER, "group": "team-a"}),
    Example(operation="GET /v1/groups", query={"limit": 50}, answer=[_GROUP]),
    _group("GET", answer={**_GROUP, "limits_held": {}, "drift": []}),
    _group("GET stats", answer={"name": "team-a", "usage": {}, "rates": None}),
    _group("GET why", query={"window_s": 0.2}, answer={"container": None, "lost": {}}),
    _group(
        "POST update",
        body={"pids_max": 500, "max_containers": -1, "budget": "cpu=20h/24h:throttle=0.5"},
        answer={"name": "team-a"},
    ),
    _group("POST freeze", query={"lease_s": 30}, status=204),
    _group("POST thaw", status=204),
    _web("POST group", body={"group": ""}, answer={**_CONTAINER, "group": ""}),
    _group("POST kill", answer={"killed": []}),
    _group("DELETE", query={"force": False}, status=204),
)

_POLICIES: Final = (
    Example(
        operation="POST /v1/policies",
        query={"replace": True},
        body={"ruleset": [_RULESET]},
        status=201,
        answer=[_POLICY],
    ),
    Example(operation="GET /v1/policies", query={"limit": 50}, answer=[_POLICY]),
    Example(
        operation="GET /v1/policies/{name}",
        names={"name": "calm-batch"},
        answer={**_POLICY, "ruleset": _RULESET, "holds": []},
    ),
    Example(
        operation="GET /v1/policies/{name}/test",
        names={"name": "calm-batch"},
        answer={
            "name": "calm-batch",
            "targets": [],
            "grades": [
                {
                    "action": "weight",
                    "after_s": 0,
                    "for_s": None,
                    "has_condition": False,
                    "options": {"cpu": 1},
                }
            ],
        },
    ),
    Example(
        operation="GET /v1/decisions",
        query={"policy": "calm-batch", "limit": 20},
        answer=[],
    ),
    Example(operation="DELETE /v1/policies/{name}", names={"name": "calm-batch"}, status=204),
)

_REST: Final = (
    Example(operation="GET /v1/jobs", query={"filter": "name=create", "limit": 1}, answer=[_JOB]),
    Example(operation="GET /v1/jobs/{job_id}", names={"job_id": JOB}, answer=_JOB),
    Example(
        operation="DELETE /v1/jobs/{job_id}",
        names={"job_id": JOB},
        status=409,
        answer={
            "type": "urn:cgagent:problem:conflict",
            "title": "conflict",
            "status": 409,
            "detail": "job 7 (create) is done: nothing to cancel",
            "instance": "/v1/jobs/7",
            "kind": "conflict",
            "object": "job 7",
            "cause": "job 7 (create) is done: nothing to cancel",
            "next_step": None,
        },
    ),
    Example(operation="POST /v1/jobs/{job_id}/cancel", names={"job_id": JOB}, status=409),
    Example(
        operation="GET /v1/cgroups",
        query={"depth": 0},
        answer=[{"path": "/", "container": None, "state": "thawed"}],
    ),
    Example(
        operation="GET /v1/cgroups/why",
        query={"path": "/", "window_s": 0.2},
        answer={"cgroup": "/", "container": None, "lost": {}},
    ),
    Example(
        operation="GET /v1/cgroups/{path}",
        names={"path": "cgagent"},
        answer={"path": "/cgagent", "container": None, "children": [], "limits_held": {}},
    ),
    Example(
        operation="POST /v1/cgroups/{path}",
        names={"path": "cgagent"},
        body={"action": "set", "limits": {"pids_max": 10000}},
        status=204,
    ),
    Example(operation="GET /v1/advice", answer=[]),
    Example(operation="GET /v1/advice", query={"groups": True}, answer=[]),
    Example(
        operation="GET /v1/capacity",
        query={"memory_bytes": 268435456, "cpus": 0.5},
        answer={"scopes": [{"path": "/", "rooms": []}], "fits": True, "findings": []},
    ),
    Example(
        operation="GET /v1/system/df",
        answer={"containers": [], "volumes": [], "time": 1764460801.5},
    ),
    Example(
        operation="GET /v1/system/abilities",
        answer=[
            {
                "name": "cgroup memory",
                "there": True,
                "detail": "limits of memory",
                "remedy": "",
                "needed": True,
            }
        ],
    ),
    Example(
        operation="GET /v1/system/recovery",
        answer={"recovered": [], "lost_and_found": "/var/lib/cgagent/lost+found"},
    ),
    Example(
        operation="POST /v1/system/check",
        body={"repair": False},
        answer={"problems": [], "repaired": [], "failures": []},
    ),
    Example(
        operation="POST /v1/system/prune",
        query={"all": False},
        answer={"containers": [], "images": [], "freed_bytes": 0},
    ),
)

EXAMPLES: Final = (
    *_AGENT,
    *_IMAGES,
    *_VOLUMES_AND_NETWORKS,
    *_CONTAINERS,
    *_FILES,
    *_GROUPS,
    *_ENDS,
    *_POLICIES,
    *_REST,
)
