"""How ``--help`` writes flags: as argparse does since Python 3.13, on any version."""

from __future__ import annotations

import argparse


class Help(argparse.HelpFormatter):
    """``-m, --memory MEMORY`` instead of ``-m MEMORY, --memory MEMORY``."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        metavar = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {metavar}"


class HelpWithLines(Help, argparse.RawDescriptionHelpFormatter):
    """The lines of description and epilog stay as they are."""
