"""JSON by the C functions that `json` is made of, without `json`.

Importing `json` compiles regular expressions: 8 ms of a command that takes 20. The functions are
private to CPython: where they are missing, or do anything else than expected, `json` it is.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Loads: TypeAlias = Callable[[bytes], Any]
    Dumps: TypeAlias = Callable[[Any], str]


class _Context:
    """The attributes that the scanner reads of a json.JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's, empty between two calls


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


def _quick() -> tuple[Loads, Dumps]:
    """Raises whatever a CPython that is made otherwise may raise."""
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    scan = make_scanner(_Context())  # type: ignore[arg-type] # what a decoder has
    encode = make_encoder(
        None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False
    )

    def loads(data: bytes) -> Any:
        text = data.decode()
        start = len(text) - len(text.lstrip(" \t\n\r"))
        try:
            value, end = scan(text, start)
        except StopIteration as error:
            raise ValueError(f"no JSON at {error.value}") from None
        if text[end:].strip(" \t\n\r"):
            raise ValueError(f"more than one JSON value, from {end} on")
        return value

    def dumps(value: Any) -> str:
        return "".join(encode(value, 0))

    return loads, dumps


def _chosen(make: Callable[[], tuple[Loads, Dumps]]) -> tuple[Loads, Dumps]:
    """The two functions that `make` returns if they work, else those of `json`."""
    text = '{"a":[1,-0.5,true,null,"\\u00e9\\n"],"b":{}}'
    try:
        loads, dumps = make()
        if dumps(loads(text.encode())) == text:
            return loads, dumps
    except Exception:  # noqa: BLE001, S110 - a private function may do anything
        pass
    import json

    return json.loads, lambda value: json.dumps(value, separators=(",", ":"))


loads, dumps = _chosen(_quick)
"""`loads` raises ValueError, `dumps` TypeError."""
__all__ = ["dumps", "loads"]
