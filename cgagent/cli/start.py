"""What an installed command runs, started without the site module: ``start.py NAME [ARG...]``.

NAME is the command's: ``cgagent``, or ``cgagent-oci``, which is ``cgagent oci`` for callers that
take a path.
"""

import gc
import sys


def _start() -> None:
    gc.set_threshold(10_000)  # a short command makes no cyclic garbage to speak of
    sys.path.append(__file__.rpartition("/cgagent/cli/")[0])
    del sys.argv[0]
    if sys.argv[0] == "cgagent-oci":
        from cgagent.oci.main import main

        sys.exit(main(sys.argv[1:]))
    from cgagent.cli.main import console

    console()


if __name__ == "__main__":
    _start()
