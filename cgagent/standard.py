"""Standard input, output and error, which another program may have made non-blocking.

O_NONBLOCK belongs to the pipe or terminal and not to a process: whatever had it before may have set
it. A write that finds no room waits here, and a read that finds nothing. It is on the path of every
command line, and imports next to nothing.
"""

from __future__ import annotations

import _codecs
import io
import posix as os  # the C part: os itself takes 1.5 ms to be loaded
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

NAMES: Final = {1: "standard output", 2: "standard error"}
_ERRORS: Final = "cgagent.standard"


class _Waiting(io.FileIO):
    """A descriptor that is written to the end. Its writes raise an OSError that names it."""

    def write(self, data: Any) -> int:
        write(self.fileno(), data)
        return memoryview(data).nbytes


def write(fd: int, data: Any) -> None:
    """All of it, however long there is no room.

    Raises:
        OSError: it cannot be written; `filename` says where to.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            _wait(fd, writing=True)
        except OSError as e:
            raise type(e)(e.errno, e.strerror, NAMES.get(fd, f"descriptor {fd}")) from None


def read(fd: int, size: int) -> bytes:
    """As `os.read`, but for one thing: it waits where there is nothing to read yet."""
    while True:
        try:
            return os.read(fd, size)
        except BlockingIOError:
            _wait(fd, writing=False)


def _wait(fd: int, *, writing: bool) -> None:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLOUT if writing else select.POLLIN)
    poll.poll()


def printable(text: str) -> str:
    r"""What somebody else has named or said, on one line: nothing of it moves the cursor.

    A control character becomes ``\x1b`` or ``\u202e``, a byte that is not UTF-8 ``\xff``.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def tell(message: str) -> None:
    """An error, to people."""
    try:
        sys.stderr.write(f"cgagent: {printable(message)}\n")
    except OSError:  # there is nobody left to tell
        return


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # noqa: PLR2004 - of a byte, by surrogateescape
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"  # noqa: PLR2004


class _Screen(io.TextIOWrapper):
    """A terminal. Lines and tabs are ours; other control characters are somebody else's."""

    def write(self, text: str) -> int:
        lines = ["\t".join(map(printable, line.split("\t"))) for line in text.split("\n")]
        return super().write("\n".join(lines))


def wait_for_room() -> None:
    """From now on `print` waits, too, and no text is refused for what it consists of.

    On a terminal no control character comes through: programs' output is not printed but written.
    """
    _codecs.register_error(_ERRORS, _as_bytes)
    if sys.stdout is sys.__stdout__:  # else it is somebody's who looks at what we print
        sys.stdout = _stream(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, sys.stderr)


def _stream(fd: int, before: Any) -> io.TextIOWrapper:
    raw = _Waiting(fd, "w", closefd=False)
    return (_Screen if raw.isatty() else io.TextIOWrapper)(
        io.BufferedWriter(raw),
        encoding=before.encoding,
        errors=_ERRORS,
        line_buffering=fd == 2 or raw.isatty(),  # noqa: PLR2004 - standard error
    )


def control(fd: int) -> io.TextIOWrapper:
    """A stream for what is to move the cursor."""
    raw = io.BufferedWriter(_Waiting(fd, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors=_ERRORS, line_buffering=True)


def _as_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """A name that is not UTF-8 comes out as the bytes that it is; other characters escaped."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    try:
        return text.encode("utf-8", "surrogateescape"), error.end
    except UnicodeEncodeError:
        return text.encode("ascii", "backslashreplace"), error.end


def give_up_output() -> None:
    """Standard output has failed and that was told: nothing more goes there, at the end neither."""
    null = os.open("/dev/null", os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def cause(error: OSError) -> str:
    """What a person is told of it."""
    text = error.strerror or str(error)
    text = text[:1].lower() + text[1:]
    if error.filename in NAMES.values():
        return f"write to {error.filename}: {text}"
    return text if error.filename is None else f"{error.filename}: {text}"
