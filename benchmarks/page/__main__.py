"""Measure what the page costs: ``python -m benchmarks.page {paint,scroll,memory,agent}``.

The first three need a browser and no agent (`drawing`), the last an agent and no browser
(`followers`). Nothing else should go on meanwhile.
"""

from __future__ import annotations

import argparse

from benchmarks.page import drawing, followers


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page")
    parser.add_argument("what", choices=("paint", "scroll", "memory", "agent"))
    parser.add_argument("--rows", type=int, default=2000, help="in the table")
    parser.add_argument("--rounds", type=int, default=500, help="of updates, for memory")
    parser.add_argument("--times", type=int, default=10, help="to open it, for paint")
    parser.add_argument("--containers", type=int, default=200, help="of the agent")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement there")
    options = parser.parse_args()
    if options.what == "paint":
        drawing.first_picture(options.rows, options.times)
    elif options.what == "scroll":
        drawing.scrolling(options.rows)
    elif options.what == "memory":
        drawing.memory(options.rows, options.rounds)
    else:
        followers.measure(options.containers, options.seconds)


if __name__ == "__main__":
    main()
