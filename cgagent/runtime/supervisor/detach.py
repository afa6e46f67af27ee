r"""The keys that end an attached terminal's session and leave its container running.

Spelled as Docker does: keys apart by commas, each a character or ``ctrl-`` and one of
``a`` to ``z @ [ \ ] ^ _``.
"""

from __future__ import annotations

from typing import Final

from cgagent.errors import InvalidInputError

DEFAULT: Final = "ctrl-p,ctrl-q"
_CONTROLS: Final = {f"ctrl-{chr(c)}": c & 0x1F for c in b"abcdefghijklmnopqrstuvwxyz@[\\]^_"}


def parse_keys(text: str) -> bytes:
    """What a terminal sends for them. Empty: the default.

    Raises:
        InvalidInputError: a key that is not known.
    """
    sequence = bytearray()
    for key in (text or DEFAULT).split(","):
        if key in _CONTROLS:
            sequence.append(_CONTROLS[key])
        elif len(key) == 1 and key.isascii():
            sequence.append(ord(key))
        else:
            raise InvalidInputError(
                f"detach keys {text!r}: {key!r} is neither a character nor ctrl- and a letter"
            )
    return bytes(sequence)


class Watcher:
    """Looks for the sequence in one client's input."""

    __slots__ = ("_held", "_keys", "found")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""  # the beginning of the sequence, which may yet turn out to be input
        self.found = False

    def concerns(self, data: bytes) -> bool:
        """Whether `pass_on` would do anything else than return it."""
        return bool(self._held) or self._keys[0] in data

    def pass_on(self, data: bytes) -> bytes:
        """The input that is none of the sequence; what comes after the sequence is dropped."""
        passed = bytearray()
        for byte in data:
            self._held += bytes((byte,))
            if self._held == self._keys:
                self.found = True
                break
            while self._held and not self._keys.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
        return bytes(passed)
