"""Where the agent is: by a flag, by the environment, by a context, or on the usual socket.

As docker has it: ``--context`` or ``--host``, then CGAGENT_HOST (or CGAGENT_SOCKET, a path), then
CGAGENT_CONTEXT, then what ``cgagent context use`` has chosen.
"""

from __future__ import annotations

from cgagent.cli.place import DEFAULT, Place, checked, current, environment, host_and_port, token_in
from cgagent.defaults import DEFAULT_SOCKET
from cgagent.errors import InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from cgagent.cli.main import Context

_TLS_FILES: Final = (("ca", "tlscacert"), ("cert", "tlscert"), ("key", "tlskey"))


def place_of(context: Context) -> Place:
    """Raises InvalidInputError: an address or a context that is none."""
    flags = context.flags
    if flags.context is not None and flags.host is not None:
        raise InvalidInputError("--host and --context: give one of them")
    place = _chosen(flags.context, flags.host)
    _add_tls(place, flags)
    if place.address.startswith("tcp://") and place.token and not _is_safe(place):
        raise InvalidInputError(
            f"{place.address}: a token is not sent to who cannot prove to be the agent; give "
            "--tlsverify, with --tlscacert where its authority is your own"
        )
    return place


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
    from cgagent.cli.contextstore import load

    return load(context).place()


def _add_tls(place: Place, flags: Any) -> None:
    """Of the environment and of flags, which win."""
    folder = environment("CGAGENT_CERT_PATH")
    if folder:
        place.with_files(ca=f"{folder}/ca.pem", cert=f"{folder}/cert.pem", key=f"{folder}/key.pem")
    place.with_files(**{name: getattr(flags, flag) for name, flag in _TLS_FILES})
    if flags.tlsverify or environment("CGAGENT_TLS_VERIFY") or place.ca:
        place.tls = place.verify = True
    place.tls = place.tls or flags.tls
    if flags.token_file is not None:
        place.token = token_in(flags.token_file)
    else:
        place.token = environment("CGAGENT_TOKEN") or place.token


def _is_safe(place: Place) -> bool:
    host = host_and_port(place)[0]
    return place.verify or host == "localhost" or host.startswith("127.") or host == "::1"
