"""``oci``: hands everything over to the runtime, which needs no agent and has flags of its own."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cgagent.cli.main import Context


def oci(context: Context) -> int:
    from cgagent.oci.main import main

    return main(context.args)
