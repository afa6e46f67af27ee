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

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """What has lines of its own keeps them."""
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "\n".join(indent + line for line in text.split("\n"))
