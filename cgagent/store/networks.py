"""Records of networks, of containers' places in them, and of published ports. Rows in, rows out."""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError
from cgagent.store import requestkeys

if TYPE_CHECKING:
    from collections.abc import Collection

    from cgagent.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRow:
    id: str
    name: str
    created_ns: int
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRow:
    """An address is leased while it is there."""

    container_id: str
    network_id: str
    position: int
    document: str
    host_name: str | None = None
    address: str | None = None
    address6: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRow:
    protocol: str
    host: str
    host_port: int
    container_id: str
    network_id: str
    container: str
    container_port: int


_ENDPOINT: Final = ", ".join(f.name for f in fields(EndpointRow))
_PORT: Final = ", ".join(f.name for f in fields(PortRow))


class NetworkRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[NetworkRow]:
        """The oldest first."""
        rows = self._database.query(
            "SELECT id, name, created_ns, document FROM networks ORDER BY created_ns"
        )
        return [NetworkRow(**dict(row)) for row in rows]

    def insert(self, row: NetworkRow) -> None:
        """Raises ConflictError: the name is taken."""
        try:
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT INTO networks (id, name, created_ns, document) VALUES (?, ?, ?, ?)",
                    (row.id, row.name, row.created_ns, row.document),
                )
                requestkeys.note(connection, "network", row.id, row.created_ns)
        except sqlite3.IntegrityError:
            raise ConflictError(f"network with name {row.name} already exists") from None

    def replace(self, row: NetworkRow) -> None:
        """Another document of the same network."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE networks SET document = ? WHERE id = ?", (row.document, row.id)
            )

    def delete(self, network_id: str) -> None:
        """Raises ConflictError: somebody has a place in it."""
        try:
            with self._database.transaction(essential=True) as connection:
                connection.execute("DELETE FROM networks WHERE id = ?", (network_id,))
        except sqlite3.IntegrityError:
            raise ConflictError(
                f"network {network_id[:12]} has places of containers to come in it; try again"
            ) from None

    # -- places in them -----------------------------------------------------------------------

    def endpoints(self) -> list[EndpointRow]:
        """Of all containers, each one's in the order of their interfaces."""
        rows = self._database.query(
            f"SELECT {_ENDPOINT} FROM endpoints ORDER BY container_id, position"  # noqa: S608
        )
        return [EndpointRow(**dict(row)) for row in rows]

    def put(self, *rows: EndpointRow) -> None:
        """New ones, or instead of those of the same container and network.

        Raises:
            ConflictError: another container has an address.
        """
        try:
            with self._database.transaction() as connection:
                connection.executemany(
                    f"INSERT INTO endpoints ({_ENDPOINT}) VALUES (?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
                    "ON CONFLICT (container_id, network_id) DO UPDATE SET "
                    "(position, document, host_name, address, address6) = (excluded.position, "
                    "excluded.document, excluded.host_name, excluded.address, excluded.address6)",
                    map(astuple, rows),
                )
        except sqlite3.IntegrityError:
            raise ConflictError("address already in use by another container") from None

    def release(self, *rows: EndpointRow) -> None:
        """As `put`, of rows that give addresses back; on a full disk as well."""
        with self._database.transaction(essential=True):
            self.put(*rows)

    def remove(self, container_id: str, network_id: str | None = None) -> None:
        """A container's place in a network, or in all."""
        which = "" if network_id is None else " AND network_id = ?"
        given = (container_id,) if network_id is None else (container_id, network_id)
        with self._database.transaction(essential=True) as connection:
            connection.execute(f"DELETE FROM endpoints WHERE container_id = ?{which}", given)  # noqa: S608

    # -- published ports ----------------------------------------------------------------------

    def ports(self) -> list[PortRow]:
        rows = self._database.query(f"SELECT {_PORT} FROM published_ports")  # noqa: S608
        return [PortRow(**dict(row)) for row in rows]

    def publish(self, rows: Collection[PortRow]) -> None:
        """Raises ConflictError: another container has one of them."""
        try:
            with self._database.transaction() as connection:
                connection.executemany(
                    f"INSERT INTO published_ports ({_PORT}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                    map(astuple, rows),
                )
        except sqlite3.IntegrityError:
            raise ConflictError("port is already allocated") from None

    def unpublish(self, container_id: str, ports: Collection[tuple[str, str, int]]) -> None:
        """Of a container's: protocol, host address and host port of each."""
        with self._database.transaction(essential=True) as connection:
            connection.executemany(
                "DELETE FROM published_ports WHERE container_id = ? AND protocol = ? AND host = ? "
                "AND host_port = ?",
                [(container_id, *port) for port in ports],
            )
