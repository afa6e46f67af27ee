"""What a zygote says to the supervisor. It hears `Prepare` and `Start` as the agent asks them."""

from __future__ import annotations

from typing import Final

from cgagent.messages.record import Message
from cgagent.runtime.messages.outcomes import Failed


class Prepared(Message):
    """It has prepared as it was asked to."""


class Console(Message):
    """With the master of the terminal that the command will have, as a descriptor."""


class Became(Message):
    """Another runtime has made the process; with a pidfd of it."""

    pid: int


class Ready(Message):
    """Only exec is left. The end of the connection after it means that the command runs."""


REPORTS: Final = (Prepared, Console, Became, Ready, Failed)
