"""Networks, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgagent.client.answers import Network
from cgagent.client.http import query, quote
from cgagent.client.parts import Part, filters_of, keyed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgagent.client.parts import Filters


class Networks(Part):
    """A network is referred to by its name, its id, or the beginning of that."""

    def list(self, *, filters: Filters | None = None) -> Sequence[Network]:
        path = "/v1/networks" + query(filter=filters_of(filters))
        return [Network.of(one) for one in self._client.request("GET", path)]

    def get(self, reference: str) -> Network:
        """Raises NotFoundError: there is none."""
        return Network.of(self._client.request("GET", f"/v1/networks/{quote(reference)}"))

    def create(self, name: str, *, idempotency_key: str | None = None, **options: Any) -> Network:
        """`options` are the fields of ``POST /v1/networks``, which /docs lists.

        Raises:
            ConflictError: the name is taken.
        """
        body = {"name": name, **options}
        return Network.of(self._client.ask("POST", "/v1/networks", body, keyed(idempotency_key))[0])

    def remove(self, reference: str) -> None:
        """Raises ConflictError: containers are in it."""
        self._client.request("DELETE", f"/v1/networks/{quote(reference)}")

    def connect(self, reference: str, container: str, **options: Any) -> None:
        """Bring a container in; `options` such as `aliases` and `address`."""
        path = f"/v1/networks/{quote(reference)}/connect"
        self._client.request("POST", path, {"container": container, **options})

    def disconnect(self, reference: str, container: str, *, force: bool = False) -> None:
        path = f"/v1/networks/{quote(reference)}/disconnect"
        self._client.request("POST", path, {"container": container, "force": force})
