"""Hooks of an OCI configuration: programs run at points of a container's life.

Each gets the container's state as JSON on its standard input. They run one after the other in
whatever namespaces the caller is in.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from cgagent.errors import InternalError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(config: Mapping[str, Any], kind: str, state: Mapping[str, Any]) -> None:
    """All hooks of a kind: ``prestart``, ``createRuntime``, ...

    Raises:
        InvalidInputError: a path that is not absolute, or a time-out that is no positive number.
        InternalError: one failed; those after it are not run.
    """
    for hook in of_kind(config, kind):
        _run_one(hook, kind, state)


def preload() -> None:
    """Load what hooks need, for a process that will not be able to: it is in a container's root."""
    import subprocess  # noqa: F401 - 9 ms that a container without hooks does not spend


def of_kind(config: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    hooks = (config.get("hooks") or {}).get(kind)
    return list(hooks or ())


def _run_one(hook: dict[str, Any], kind: str, state: Mapping[str, Any]) -> None:
    import subprocess

    path, timeout = hook.get("path") or "", hook.get("timeout")
    if not path.startswith("/"):
        raise InvalidInputError(f"{kind} hook {path!r}: its path must be absolute")
    if timeout is not None and timeout <= 0:
        raise InvalidInputError(f"{kind} hook {path}: its timeout must be more than 0 s")
    try:
        done = subprocess.run(
            hook.get("args") or [path],
            executable=path,
            env=dict(item.partition("=")[::2] for item in hook.get("env") or ()),
            input=json.dumps(state).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InternalError(f"{kind} hook {path}: not done in {timeout} s") from None
    except OSError as e:
        raise InternalError(f"{kind} hook {path}: {os.strerror(e.errno or 0).lower()}") from None
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip().replace("\n", " ")[-500:]
        raise InternalError(
            f"{kind} hook {path}: exit code {done.returncode}: {said or 'no output'}"
        )
