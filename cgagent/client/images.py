"""Images, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.client.answers import Image
from cgagent.client.http import query, quote
from cgagent.client.parts import Part, filters_of, followed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cgagent.client.parts import Filters, Tell


class Images(Part):
    def list(self, *, filters: Filters | None = None) -> Sequence[Image]:
        path = "/v1/images" + query(filter=filters_of(filters))
        return [Image.of(one) for one in self._client.request("GET", path)]

    def get(self, name: str) -> Image:
        """Raises NoSuchImageError: there is none."""
        return Image.of(self._client.request("GET", f"/v1/images/{quote(name)}"))

    def pull(self, name: str, *, platform: str = "", tell: Tell | None = None) -> Image:
        """Fetch it from its registry; `tell` is called with how far that is."""
        body = {"name": name, "platform": platform}
        return Image.of(
            followed(self._client.lines("POST", "/v1/images/pull", body), tell)["image"]
        )

    def load(self, path: str, *, tell: Tell | None = None) -> Sequence[Image]:
        """Take images out of an archive on the agent's own disk."""
        messages = self._client.lines("POST", "/v1/images/load", {"path": path})
        return [Image.of(one) for one in followed(messages, tell)["images"]]

    def save(self, *names: str) -> Iterator[bytes]:
        """An archive of images, as it comes."""
        return self._client.download("/v1/images/save" + query(names=[*names]))

    def tag(self, source: str, name: str) -> Image:
        """Give an image one more name."""
        return Image.of(
            self._client.request("POST", "/v1/images/tag", {"source": source, "name": name})
        )

    def remove(self, name: str, *, force: bool = False) -> Sequence[str]:
        """Take a name off, and delete the image when that was its last; lines that tell of it."""
        path = f"/v1/images/{quote(name)}" + query(force=force)
        lines: Sequence[str] = self._client.request("DELETE", path)["lines"]
        return lines
