"""Where the agent is: as said, by the environment, by a context, or on the usual socket.

As docker has it: ``--context`` or ``--host``, then CGAGENT_HOST (or CGAGENT_SOCKET, a path), then
CGAGENT_CONTEXT, then what ``cgagent context use`` has chosen.
"""

from __future__ import annotations

from cgagent.client.http import Client
from cgagent.client.place import (
    DEFAULT,
    Place,
    checked,
    current,
    environment,
    host_and_port,
    token_in,
)
from cgagent.defaults import DEFAULT_SOCKET
from cgagent.errors import InvalidInputError


def place_of(
    host: str | None = None,
    context: str | None = None,
    *,
    tls: bool = False,
    tlsverify: bool = False,
    tlscacert: str | None = None,
    tlscert: str | None = None,
    tlskey: str | None = None,
    token_file: str | None = None,
) -> Place:
    """`host` is an address, `context` a name for one; the rest as docker's flags of these names.

    Raises:
        InvalidInputError: an address or a context that is none.
    """
    if context is not None and host is not None:
        raise InvalidInputError("--host and --context: give one of them")
    place = _chosen(context, host)
    folder = environment("CGAGENT_CERT_PATH")
    if folder:
        place.with_files(ca=f"{folder}/ca.pem", cert=f"{folder}/cert.pem", key=f"{folder}/key.pem")
    place.with_files(ca=tlscacert, cert=tlscert, key=tlskey)
    if tlsverify or environment("CGAGENT_TLS_VERIFY") or place.ca:
        place.tls = place.verify = True
    place.tls = place.tls or tls
    if token_file is not None:
        place.token = token_in(token_file)
    else:
        place.token = environment("CGAGENT_TOKEN") or place.token
    if place.address.startswith("tcp://") and place.token and not _is_safe(place):
        raise InvalidInputError(
            f"{place.address}: a token is not sent to who cannot prove to be the agent; give "
            "--tlsverify, with --tlscacert where its authority is your own"
        )
    return place


def client_at(place: Place) -> Client:
    """Nothing is connected so far. Raises InvalidInputError: the address is none."""
    if place.path:
        return Client(place.path)
    from cgagent.client.remote import dialler

    is_tcp = place.address.startswith("tcp://")
    host = place.address.removeprefix("tcp://").rstrip("/") if is_tcp else "cgagent"
    token = [f"Authorization: Bearer {place.token}"] if place.token and is_tcp else []
    return Client("", dialler(place), (f"Host: {host}", *token))


def _chosen(context: str | None, host: str | None) -> Place:
    if context is not None:
        return _named(context)
    for name, address in (
        ("--host", host),
        ("CGAGENT_HOST", environment("CGAGENT_HOST") or None),
        ("CGAGENT_SOCKET", environment("CGAGENT_SOCKET")),
    ):
        if address is not None:
            return Place(checked(name, address))
    named = environment("CGAGENT_CONTEXT") or current()
    return _named(named) if named else Place(f"unix://{DEFAULT_SOCKET}")


def _named(context: str) -> Place:
    if context == DEFAULT:
        return Place(f"unix://{DEFAULT_SOCKET}")
    from cgagent.client.contextstore import load

    return load(context).place()


def _is_safe(place: Place) -> bool:
    host = host_and_port(place)[0]
    return place.verify or host == "localhost" or host.startswith("127.") or host == "::1"
