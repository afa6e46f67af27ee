"""Under which key the result of a step is kept: what came before it, and what it is made of.

The same steps on the same base with the same files have the same keys, whoever builds them and
whenever; names of images, times and limits count for nothing.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.images.build.commands import Copy, Run

_VERSION = 1
"""Of what keys are made of: another one finds nothing that was kept before."""


def _key(*parts: Any) -> str:
    text = json.dumps([_VERSION, *parts], sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def of_base(image_id: str) -> str:
    """``scratch``, or the id of an image, which stands for its configuration and its layers."""
    return _key("FROM", image_id)


def of_setting(before: str, text: str) -> str:
    """An instruction that changes the configuration alone, its variables replaced."""
    return _key(before, text)


def of_run(
    before: str,
    step: Run,
    arguments: Mapping[str, str],
    network: str,
    mounted: Mapping[str, str],
) -> str:
    """`arguments` are those it sees, `mounted` digests of what is bound, by the places.

    A cache, a secret and a file system in memory count by how they are asked for alone.
    """
    mounts = [
        [m.type, m.target, m.id, m.source, m.origin, m.read_only, m.env, mounted.get(m.target, "")]
        for m in step.mounts
    ]
    return _key(before, "RUN", step.args, step.script, dict(arguments), network, mounts)


def of_copy(before: str, step: Copy, digests: tuple[str, ...]) -> str:
    """`digests` are of what is copied."""
    files = [[h.name, h.content] for h in step.files]
    about = [step.target, step.chown, step.chmod, step.exclude, files]
    about += ["parents"] if step.parents else []
    kind = "ADD" if step.is_add else "COPY"
    return _key(before, kind, about, digests)
