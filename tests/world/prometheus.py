"""Debian's Prometheus and Alertmanager, unpacked and run on loopback; nothing is installed."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.world import debian
from tests.world.agent import eventually, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml"
SCRAPE_S = 5
"""As long, too, as a scrape may take: Prometheus allows no more than its interval."""


_BARE = (
    *("container_memory_failcnt ", "container_hugetlb_failcnt ", "container_fs_inodes_total "),
    *("container_network_tcp_usage_total ", "container_network_tcp6_usage_total "),
)
"""cAdvisor's names, and types, that promtool would have otherwise."""


def complaints(promtool: str | Path, exposed: bytes) -> list[str]:
    """What `promtool check metrics` says of a scrape, but of names that are cAdvisor's."""
    command = [str(promtool), "check", "metrics"]
    ran = subprocess.run(command, input=exposed, capture_output=True, check=False)
    said = (ran.stdout + ran.stderr).decode()
    return [line for line in said.split("\n") if line and not line.startswith(_BARE)]


class Prometheus:
    """A server that scrapes `target` every `SCRAPE_S`, with our rules made to fire in seconds."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._target = target
        self._port = free_port()
        self._alertmanager_port = free_port()
        self.alerts: list[dict[str, Any]] = []
        """What came out of Alertmanager's end, in order."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            receiver = stack.enter_context(_receiver(self.alerts))
            self._run(stack, "prometheus-alertmanager", self._alertmanager(receiver))
            self._run(stack, "prometheus", self._prometheus())
            eventually(lambda: self.query("up == 1"), "Prometheus has scraped nothing", 60)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        series: list[dict[str, Any]] = self._get("query", query=expr)["result"]
        return series

    def value(self, expr: str) -> float | None:
        found = self.query(expr)
        return float(found[0]["value"][1]) if found else None

    def names(self) -> list[str]:
        """Of all series there were."""
        names: list[str] = self._get("label/__name__/values")
        return names

    def targets(self) -> list[dict[str, Any]]:
        targets: list[dict[str, Any]] = self._get("targets")["activeTargets"]
        return targets

    def _get(self, path: str, **parameters: str) -> Any:
        """Waits for a server that is starting."""
        asked = f"{path}?{urllib.parse.urlencode(parameters)}"
        return eventually(lambda: self._answer(asked), f"Prometheus does not answer {asked}", 60)

    def _answer(self, asked: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{asked}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except (ConnectionError, TimeoutError):
            return None
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE:  # it is starting
                return None
            raise AssertionError(f"{asked}: {error.read().decode()}") from None
        except urllib.error.URLError:
            return None

    def _run(self, stack: ExitStack, name: str, flags: list[str]) -> None:
        package = debian.unpack(name)
        # Debian's Alertmanager reads its templates from /usr/share: it sees the package's there.
        command = debian.seeing(package, "/usr/share", f"{package}/usr/bin/{name}", *flags)
        log = stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)

    def _alertmanager(self, receiver: int) -> list[str]:
        config = {
            "route": {"receiver": "test", "group_wait": "0s", "group_interval": "1s"},
            "receivers": [
                {
                    "name": "test",
                    "webhook_configs": [{"url": f"http://127.0.0.1:{receiver}/"}],
                }
            ],
        }
        (self._folder / "alertmanager.yml").write_text(json.dumps(config))  # YAML holds JSON
        return [
            "--config.file=alertmanager.yml",
            f"--web.listen-address=127.0.0.1:{self._alertmanager_port}",
            "--cluster.listen-address=",
            "--storage.path=alertmanager",
        ]

    def _prometheus(self) -> list[str]:
        (self._folder / "rules.yml").write_text(_hurried(RULES.read_text()))
        config = {
            "global": {
                "scrape_interval": f"{SCRAPE_S}s",
                "evaluation_interval": f"{SCRAPE_S}s",
            },
            "rule_files": ["rules.yml"],
            "alerting": {
                "alertmanagers": [
                    {"static_configs": [{"targets": [f"127.0.0.1:{self._alertmanager_port}"]}]}
                ]
            },
            "scrape_configs": [
                {"job_name": "cgagent", "static_configs": [{"targets": [self._target]}]}
            ],
        }
        (self._folder / "prometheus.yml").write_text(json.dumps(config))
        return [
            "--config.file=prometheus.yml",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--storage.tsdb.path=tsdb",
        ]


def _hurried(rules: str) -> str:
    """The same rules over 15 seconds instead of minutes."""
    return re.sub(r"\[\d+m\]", "[15s]", re.sub(r"for: \d+m", "for: 1s", rules))


@contextmanager
def _receiver(alerts: list[dict[str, Any]]) -> Iterator[int]:
    """An HTTP server that keeps what Alertmanager sends; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            alerts.extend(json.loads(body)["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
