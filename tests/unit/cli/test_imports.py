"""What a command loads decides how long it takes: the heavy libraries are not for the client."""

import json
import os
import socket
import subprocess
import sys
import threading

import pytest

HEAVY = {
    "fastapi",
    "pydantic",
    "pyroute2",
    "asyncio",
    "rich",
    "uvicorn",
    "httpx",
    "psutil",
    "typing",
}
SCRIPT = """
import sys
sys.argv = ["cgagent", *sys.argv[1:]]
from cgagent.cli.main import main
try:
    main()
finally:
    import json
    print(json.dumps([m for m in sys.modules if "." not in m]), file=sys.stderr)
"""


def loaded(*args, **options):
    """Names of the modules a command loads, and its standard output."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *args],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        **options,
    )
    return set(json.loads(done.stderr.splitlines()[-1])), done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("--version",),
        ("--host", "unix:///no/such.sock", "version"),
        ("--host", "unix:///no/such.sock", "run", "alpine"),
        ("--host", "unix:///no/such.sock", "ps"),
        ("run", "--help"),
        ("update", "--help"),
        ("stats", "--help"),
        ("pull", "--help"),
        ("serve", "--help"),
    ],
)
def test_no_heavy_library_is_loaded(args):
    modules, _ = loaded(*args)
    assert "cgagent" in modules
    assert not modules & (HEAVY - {"typing"})


def test_a_whole_run_without_a_terminal_loads_none_either(tmp_path):
    """Against a socket that answers as the agent would."""
    path = str(tmp_path / "s")
    payload = b'{"exit_code": 0}'
    status_frame = bytes((3, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload
    output_frame = bytes((1, 0, 0, 0)) + (3).to_bytes(4, "big") + b"hi\n"

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(65536).startswith(b"POST /v1/containers/run?")
            head = b"HTTP/1.1 101 X\r\nUpgrade: tcp\r\nLocation: /v1/containers/abc\r\n\r\n"
            connection.sendall(head + output_frame)
            connection.sendall(status_frame)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(20)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        modules, output = loaded(
            "run", "alpine", "true", env={**os.environ, "CGAGENT_SOCKET": path}
        )
        thread.join()
    assert output == "hi\n"
    assert not modules & (HEAVY - {"typing"})
