"""What a stage has come to after each of its steps: an image that could be made of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.build.cache import MARK
from cgagent.errors import InvalidInputError
from cgagent.images.archives.authoring import config_document
from cgagent.images.build import keys
from cgagent.images.build.configuration import variables_of
from cgagent.images.building import Layers
from cgagent.images.manifest import this_architecture
from cgagent.runtime.container.command import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.engine.build.values import Account
    from cgagent.images.image import Image

_SHOWN: Final = 12
_MAX_BYTES: Final = 4 << 20


@dataclass(slots=True, kw_only=True)
class State:
    base: dict[str, Any]
    """The configuration of the image that the stage began with."""
    settings: dict[str, Any]
    """Its object ``config``."""
    layers: Layers
    history: list[dict[str, Any]]
    key: str
    arguments: dict[str, str] = field(default_factory=dict)
    """Build arguments that an ARG has declared, and that have a value."""
    author: str = ""
    base_id: str = ""
    """Of the image that it is, as long as no step was carried out on it."""

    @classmethod
    def of_scratch(cls, platform: str) -> State:
        parts = platform.split("/") if platform else ["linux", this_architecture()[0]]
        base = dict(zip(("os", "architecture", "variant"), parts, strict=False))
        return cls(
            base=base,
            settings={"Env": [f"PATH={DEFAULT_PATH}"], "WorkingDir": "/"},
            layers=Layers(),
            history=[],
            key=keys.of_base("scratch"),
        )

    @classmethod
    def of_image(cls, image: Image, document: dict[str, Any]) -> State:
        return cls(
            base=document,
            settings=dict(document.get("config") or {}),
            layers=Layers(image.diff_ids, image.layer_sizes),
            history=list(document.get("history") or ()),
            key=keys.of_base(image.id),
            author=document.get("author") or "",
            base_id=image.id,
        )

    def copied(self) -> State:
        """For a stage that begins with this one; arguments are not passed on."""
        return State(
            base=self.base,
            settings=json.loads(json.dumps(self.settings)),
            layers=self.layers,
            history=list(self.history),
            key=self.key,
            author=self.author,
            base_id=self.base_id,
        )

    @property
    def variables(self) -> dict[str, str]:
        """What instructions may refer to; the environment counts before build arguments."""
        return {**self.arguments, **variables_of(self.settings)}

    @property
    def directory(self) -> str:
        return self.settings.get("WorkingDir") or "/"

    def document(self) -> bytes:
        """The configuration of an image that is made of it."""
        kept = {name: value for name, value in self.settings.items() if value not in (None, [], {})}
        found = config_document(self.base, kept, self.layers.diff_ids, self.history, self.author)
        if len(found) > _MAX_BYTES:
            raise InvalidInputError(
                f"the image's configuration, with its history, would have more than {_MAX_BYTES} "
                "bytes: the values in it are too long"
            )
        return found

    @property
    def id(self) -> str:
        return self.base_id or f"sha256:{hashlib.sha256(self.document()).hexdigest()}"


def entry(
    created_by: str, key: str, author: str, used: Account | None, *, is_empty: bool
) -> dict[str, Any]:
    """Of an image's history, with what the step has used."""
    mark: Mapping[str, Any] = {"key": key, **({"usage": used.to_json()} if used else {})}
    return {
        "created": now(),
        **({"author": author} if author else {}),
        "created_by": created_by,
        **({"empty_layer": True} if is_empty else {}),
        MARK: mark,
    }


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
