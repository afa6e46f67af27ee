"""Compare cgagent with other engines: ``python -m benchmarks [--rounds N] [--only NAME,...]``.

The engines run apart from the machine: see `benchmarks.apart`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import apart, gate, measures, table
from benchmarks.engines import Cgagent, Docker, Podman
from benchmarks.process import Failure
from benchmarks.runtimes import Crun, Runc

if TYPE_CHECKING:
    from benchmarks.peers import Peer

PEERS: dict[str, type[Cgagent | Docker | Podman | Crun | Runc]] = {
    peer.name: peer for peer in (Cgagent, Docker, Podman, Crun, Runc)
}
_LOG_ROUNDS = 3
_PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_MONITORING = "\n## Monitoring"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=20, help="samples of each latency")
    parser.add_argument("--containers", type=int, default=50, help="how many make a full host")
    parser.add_argument("--tasks", type=int, default=1000, help="how many to freeze at once")
    parser.add_argument("--idle-seconds", type=float, default=10.0)
    parser.add_argument("--only", metavar="NAME,...", help=f"of {','.join(PEERS)}")
    parser.add_argument(
        "--gate", action="store_true", help="fail where a ratio is worse than the recorded one"
    )
    parser.add_argument(
        "--record", action="store_true", help=f"keep the ratios in {gate.RECORD.name}, for --gate"
    )
    parser.add_argument("--write", action="store_true", help=f"also write {_PAGE.name}")
    options = parser.parse_args()
    few = gate.PEERS if options.gate or options.record else tuple(PEERS)
    options.peers = options.only.split(",") if options.only else list(few)
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return options


def _inside(options: argparse.Namespace, folder: Path) -> int:
    running: list[Peer] = []
    notes: list[str] = []
    try:
        for name in options.peers:
            peer: Peer = PEERS[name](folder / name)
            running.append(peer)
            try:
                peer.open()
                peer.run()
            except Failure as failure:
                running.pop().close()
                notes.append(f"{name} is left out: {failure}")
                print(f"benchmarks: {notes[-1]}", file=sys.stderr)
        versions = {peer.name: peer.version() for peer in running}
        interpreter = gate.interpreter_ms()
        rows = [
            *measures.latencies(running, options.rounds, notes),
            *measures.crowd(running, options.tasks, options.rounds, notes),
            *measures.logs(running, _LOG_ROUNDS, notes),
            *measures.full_host(running, options.containers, options.idle_seconds, notes),
        ]
    except Failure as failure:
        print(f"benchmarks: {failure}", file=sys.stderr)
        return 1
    finally:
        for peer in running:
            peer.close()
    table.show(rows, notes)
    if options.write:
        _, heading, monitoring = _PAGE.read_text().partition(_MONITORING)
        page = table.page(rows, versions, notes, rounds=options.rounds)
        _PAGE.write_text(page + heading + monitoring)
        print(f"written to {_PAGE}")
    found = gate.ratios(rows, interpreter)
    if options.record:
        gate.record(found)
    return gate.check(found) if options.gate else 0


def main() -> int:
    options = _options()
    folder = apart.folder()
    if folder is not None:
        return _inside(options, folder)
    return apart.again("benchmarks")


if __name__ == "__main__":
    sys.exit(main())
