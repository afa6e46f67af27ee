"""Where the image of a name is to be had: mirrors, rewritten and blocked names, insecure hosts."""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cgagent.errors import DeniedError, InvalidInputError
from cgagent.images.reference import DOCKER_DOMAIN, Reference
from cgagent.images.reference import parse as parse_reference
from cgagent.registryrules import RegistryRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgagent.config import Settings

_DOCKER_HUB: Final = "registry-1.docker.io"
_HUB_SEARCH: Final = "index.docker.io"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a registry's API is. `bases` are URLs tried in order until one connects."""

    host: str
    """``HOST[:PORT]``."""
    bases: tuple[str, ...]
    verify: bool = True
    own: bool = False
    """Is it the registry that the name says, which credentials for that name are meant for?"""

    @classmethod
    def of(cls, address: str, insecure: Sequence[str]) -> Endpoint:
        """`address` is ``HOST[:PORT]`` or a URL."""
        if "://" in address:
            url = address.rstrip("/")
            host = urlsplit(url).netloc
            return cls(host, (url,), verify=not is_insecure(host, insecure))
        if is_insecure(address, insecure):
            return cls(address, (f"https://{address}", f"http://{address}"), verify=False)
        return cls(address, (f"https://{address}",))


@dataclass(frozen=True, slots=True)
class Place:
    """A repository at an endpoint."""

    endpoint: Endpoint
    path: str


def _hostname(address: str) -> str:
    return urlsplit(f"//{address}").hostname or ""


def is_loopback(address: str) -> bool:
    host = _hostname(address)
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def is_insecure(address: str, insecure: Sequence[str]) -> bool:
    """Whether ``HOST[:PORT]`` may be spoken to over plain HTTP; loopback always, as in Docker.

    Networks match addresses that are written as such: names are not looked up.
    """
    host = _hostname(address)
    if is_loopback(address) or address in insecure or host in insecure:
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in insecure:
        with contextlib.suppress(ValueError):
            if ip in ipaddress.ip_network(entry, strict=False):
                return True
    return False


class Rules:
    """The settings about registries, applied to names."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules = settings.registries
        self.added = settings.add_registries

    def candidates(self, name: str) -> list[Reference]:
        """What a user's name may mean: without a registry, also one of those that were added."""
        wanted = parse_reference(name)
        first, slash, _ = name.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            return [wanted]
        added = [parse_reference(f"{host}/{name}") for host in self._settings.add_registries]
        found = [*added, wanted]
        return [one for one in found if self.rule(one)[1].blocked is False] or [wanted]

    def rule(self, wanted: Reference) -> tuple[str, RegistryRule]:
        """The prefix with the rule that holds for a name; the domain where the table has none."""
        prefix = wanted.name
        while prefix not in self._rules and "/" in prefix:
            prefix = prefix.rpartition("/")[0]
        rule = self._rules.get(prefix, RegistryRule())
        if prefix == DOCKER_DOMAIN and self._settings.registry_mirrors:
            rule = replace(rule, mirrors=(*rule.mirrors, *self._settings.registry_mirrors))
        return prefix, replace(rule, blocked=rule.blocked or self._is_blocked(wanted.domain))

    def _is_blocked(self, domain: str) -> bool:
        blocked = self._settings.block_registries
        if domain in blocked or (domain == DOCKER_DOMAIN and "public" in blocked):
            return True
        return "all" in blocked and domain not in self._settings.add_registries

    def places(self, wanted: Reference, *, mirrors: bool = True) -> list[Place]:
        """Where to ask for it, in order: mirrors, then the origin.

        Raises:
            DeniedError: the settings block it.
        """
        prefix, rule = self.rule(wanted)
        if rule.blocked:
            raise DeniedError(
                f"image {wanted}: registry {wanted.domain} is blocked by this agent's settings"
            )
        rest = wanted.name.removeprefix(prefix)
        found = [self._place(mirror, rest, wanted, rule) for mirror in rule.mirrors if mirrors]
        origin = self._place(rule.location or prefix, rest, wanted, rule)
        own = not rule.location or _host_of(rule.location) == wanted.domain
        return [*found, Place(replace(origin.endpoint, own=own), origin.path)]

    def _place(self, location: str, rest: str, wanted: Reference, rule: RegistryRule) -> Place:
        if "://" in location:
            return Place(self._endpoint(location, rule), wanted.path)
        host, _, path = (location + rest).partition("/")
        if not path:
            raise InvalidInputError(f"registry {location}: no repository is left of {wanted}")
        return Place(self._endpoint(host, rule), path)

    def endpoint(self, host: str) -> Endpoint:
        """A registry as such, for ``login`` and ``search``."""
        rule = self._rules.get(host, RegistryRule())
        if rule.blocked or self._is_blocked(host):
            raise DeniedError(f"registry {host} is blocked by this agent's settings")
        location = rule.location.partition("/")[0] or host
        own = location == host
        return replace(self._endpoint(location, rule), own=own)

    def search_endpoint(self, host: str) -> Endpoint:
        """Docker Hub searches elsewhere than it has its images."""
        found = self.endpoint(host)
        if found.host == _DOCKER_HUB:
            return Endpoint(_HUB_SEARCH, (f"https://{_HUB_SEARCH}",), own=True)
        return found

    def _endpoint(self, address: str, rule: RegistryRule) -> Endpoint:
        real = _DOCKER_HUB if address == DOCKER_DOMAIN else address
        insecure = self._settings.insecure_registries
        if rule.insecure:
            insecure = (*insecure, _host_of(real))
        return Endpoint.of(real, insecure)

    def in_force(self) -> list[dict[str, object]]:
        """A row for each prefix, the most general first; plain values, for people to read."""
        prefixes = {DOCKER_DOMAIN, *self._rules, *self._settings.add_registries}
        prefixes |= {host for host in self._settings.block_registries if host not in _GROUPS}
        return [self._row(prefix) for prefix in sorted(prefixes)]

    def _row(self, prefix: str) -> dict[str, object]:
        domain, _, path = prefix.partition("/")
        _, rule = self.rule(Reference(domain, path) if path else Reference(domain, "x"))
        host = _host_of(rule.location or domain)
        return {
            "prefix": prefix,
            "location": rule.location or prefix,
            "mirrors": list(rule.mirrors),
            "blocked": rule.blocked,
            "insecure": rule.insecure or is_insecure(host, self._settings.insecure_registries),
            "added": prefix in self._settings.add_registries,
        }


_GROUPS: Final = frozenset({"all", "public"})


def _host_of(location: str) -> str:
    return urlsplit(location).netloc if "://" in location else location.partition("/")[0]
