"""An image to be added to the store, where its layers come from, and how far they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from cgagent.images.content import BlobWriter
    from cgagent.images.manifest import Document


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a pull or a load. `status` is spelled as Docker spells it."""

    layer: str
    """Twelve hexadecimal digits of the layer, or empty for the image as a whole."""
    status: str
    current_bytes: int | None = None
    total_bytes: int | None = None


class LayerSource(Protocol):
    """Where the bytes of one layer come from."""

    @property
    def digest(self) -> str | None:
        """Of the bytes; None: not known before they are fetched."""
        ...

    @property
    def origin(self) -> str:
        """Who gives the bytes: nobody waits for another's download from somewhere else."""
        ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def media_type(self) -> str: ...

    @property
    def shown(self) -> str:
        """Its name in `Progress`."""
        ...

    def fetch(
        self, writer: BlobWriter, stop: threading.Event, progress: Callable[[int], None]
    ) -> None:
        """In a thread: writes all bytes into `writer`, which its caller commits.

        `progress` is told how many bytes are here. Raises StoppedError soon after `stop` is set.
        """
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image to be added, its layers bottom first, under canonical names."""

    what: str
    config: bytes
    config_type: str
    layers: tuple[LayerSource, ...]
    names: tuple[str, ...]
    documents: tuple[Document, ...] = ()
    """From what the names stand for down to the manifest; an archive of docker save has none."""
