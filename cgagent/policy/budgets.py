"""Budgets: what may be used of a resource in a time, as asked for, and how much of it is used.

``cpu=1h/24h,io=50g/1d:throttle=1m,net=10g/30d:freeze``. Windows are fixed: the first begins with
the first run, and the next begins when one ends. A budget is a floor of fairness over weeks, so a
rolling window, which would need each hour's use kept, buys nothing that anybody could plan with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from cgagent.errors import InvalidInputError
from cgagent.policy.texts import OFF, parsed_options
from cgagent.units import parse_duration, parse_rate, parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping

Resource = Literal["cpu", "io", "net"]
Action = Literal["event", "throttle", "freeze", "stop"]
Phase = Literal["", "acting", "done", "given up"]

RESOURCES: Final = get_args(Resource)
_FORM: Final = (
    "write cpu=1h/24h, io=50g/1d or net=10g/30d, each with :throttle=VALUE, :freeze or :stop where "
    "an event is not enough, or off"
)
_DAY_S: Final = 86400.0
_LEAST_S, _LONGEST_S = 1.0, 366 * _DAY_S
_MOST: Final = 2**63 - 1
_THROTTLES: Final[dict[Resource, tuple[float, float]]] = {
    "cpu": (0.01, 1e4),
    "io": (1.0, 1e15),
    "net": (8_000.0, 1e12),
}
"""Least and most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    resource: Resource
    amount: int
    """Nanoseconds of CPU time; bytes read and written, or received and sent."""
    window_s: float
    action: Action = "event"
    throttle: float = 0.0
    """CPUs, bytes a second read and written of each device, bits a second in and out."""

    def __str__(self) -> str:
        """As it is kept, and shown."""
        amount = _seconds(self.amount) if self.resource == "cpu" else str(self.amount)
        action = f":{self.action}" if self.action != "event" else ""
        value = f"={_plain(self.throttle)}" if self.action == "throttle" else ""
        return f"{self.resource}={amount}/{self.window_s:.12g}s{action}{value}"


def _seconds(ns: int) -> str:
    """Whole microseconds, all of them: it is read back as the same number, without exponents."""
    return f"{_plain(ns // 1000 / 1e6)}s"


def _plain(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def parse(text: str) -> tuple[Budget, ...]:
    """None of them where it is off.

    Raises:
        InvalidInputError: a part is no budget.
    """
    if text in OFF:
        return ()
    return tuple(
        _budget(name, value)
        for name, value in parsed_options(text, "budget", RESOURCES, _FORM).items()
    )


def canonical(text: str) -> str:
    """As it is kept. Raises InvalidInputError."""
    return ",".join(map(str, parse(text)))


def _budget(name: Any, text: str) -> Budget:
    what = f"budget {name}"
    use, _, action = text.partition(":")
    amount, slash, window = use.partition("/")
    kind, equals, value = action.partition("=")
    if not slash or kind not in {"", *get_args(Action)} or bool(equals) != (kind == "throttle"):
        raise InvalidInputError(f"{what}: {text[:40]!r} is not understood; {_FORM}")
    window_s = _duration(window, what)
    if not _LEAST_S <= window_s <= _LONGEST_S:
        raise InvalidInputError(f"{what}: a time of {window} is not in 1s..366d")
    if name == "cpu":
        most = round(_duration(amount, what) * 1e6) * 1000
    else:
        most = parse_size(amount, what)
    if most <= 0:
        raise InvalidInputError(f"{what}: {amount} is nothing at all; limit or stop it instead")
    if most > _MOST:
        raise InvalidInputError(f"{what}: {amount} is more than anything uses; leave it out")
    known: Any = kind or "event"
    throttle = _throttle(name, value, what) if equals else 0.0
    return Budget(resource=name, amount=most, window_s=window_s, action=known, throttle=throttle)


def _duration(text: str, what: str) -> float:
    """Days, too."""
    days, _, rest = text.partition("d") if "d" in text else ("", "", text)
    if days[-1:].isalpha():
        raise InvalidInputError(f"{what}: {text[:40]!r} is not a time; {_FORM}")
    whole = _DAY_S * parse_duration(days, what) if days else 0.0
    return whole + (parse_duration(rest, what) if rest or not days else 0.0)


def _throttle(name: Resource, text: str, what: str) -> float:
    if name == "io":
        value = float(parse_size(text, what))
    elif name == "net":
        value = float(parse_rate(text, what))
    else:
        try:
            value = float(text)
        except ValueError:
            raise InvalidInputError(f"{what}: {text[:40]!r} is not a number of CPUs") from None
    least, most = _THROTTLES[name]
    if not least <= value <= most:
        raise InvalidInputError(
            f"{what}: throttle={text[:40]} is not in {least:g}..{most:g}; stop it to have less"
        )
    return value


@dataclass(slots=True, kw_only=True)
class Meter:
    """How much of one budget is used, and what is done about it. Times are Unix nanoseconds."""

    budget: Budget
    begins_ns: int
    used: int = 0
    run_s: float = 0.0
    """When the run began that was counted last: each run's counters begin with 0."""
    counted: dict[str, int] | None = field(default_factory=dict)
    """Counters as they were last, by device or interface. None: what they are at the next
    reading is no use of this budget."""
    counted_ns: int = 0
    phase: Phase = ""
    """It is saved as `acting` before something is done, so that a crash leaves no doubt."""
    acted: Action = "event"
    """What has been done, or is about to be."""
    acted_run_ns: int | None = None
    """When the run began to which it was done."""
    held: tuple[str, ...] = ()
    """The limits that a throttle has overridden."""
    lease_ns: int | None = None
    """When a freeze ends; by this it is known to be ours."""
    is_stale: bool = False
    """What has been done is not what is asked for any more."""

    @property
    def ends_ns(self) -> int:
        return self.begins_ns + int(self.budget.window_s * 1e9)

    @property
    def ratio(self) -> float:
        return self.used / self.budget.amount

    @property
    def is_spent(self) -> bool:
        return self.used >= self.budget.amount

    @property
    def is_acted_on(self) -> bool:
        """Something is done, or is about to be, that has to be undone."""
        return self.phase in {"acting", "done"}

    @property
    def is_wanted(self) -> bool:
        """Whether what is asked for is to be in force."""
        return self.is_spent and not self.is_stale

    def is_undone(self) -> None:
        """All is as it was before."""
        self.phase, self.held, self.lease_ns, self.is_stale = "", (), None, False

    def rolled(self, now_ns: int) -> bool:
        """Begin the window that it is now; whether that is a new one."""
        self.begins_ns = min(self.begins_ns, now_ns)  # the clock may have been set back
        if now_ns < self.ends_ns:
            return False
        window_ns = int(self.budget.window_s * 1e9)
        self.begins_ns += (now_ns - self.begins_ns) // window_ns * window_ns
        self.used = 0
        if self.phase == "given up" or self.acted == "event":
            self.phase = ""
        self.is_stale = self.is_acted_on  # what this window brings comes after that is undone
        return True

    def add(self, counters: Mapping[str, int], run_s: float, now_ns: int) -> bool:
        """The next reading of a run, whose counters began with 0; whether more is used.

        What was used since the last reading is spread evenly over that time, of which a part may
        be an earlier window's: an agent may have been away for long.
        """
        before, since_ns = self.counted, self.counted_ns or self.begins_ns
        if before is not None and run_s < self.run_s <= now_ns / 1e9:
            return False  # a late reading of the run before, or else the clock was set back
        is_baseline = before is None
        if run_s != self.run_s:
            before = {}
        grown = sum(self._grown((before or {}).get(key, 0), now) for key, now in counters.items())
        is_new = run_s != self.run_s or counters != self.counted
        self.counted, self.run_s, self.counted_ns = dict(counters), run_s, now_ns
        if is_baseline:
            return is_new
        if since_ns < self.begins_ns < now_ns:
            grown = round(grown * (now_ns - self.begins_ns) / (now_ns - since_ns))
        self.used += grown
        return is_new

    def _grown(self, before: int, now: int) -> int:
        """A counter that is less than it was: of a new interface, or of fewer groups in one."""
        if now >= before:
            return now - before
        return now if self.budget.resource == "net" else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "begins_ns": self.begins_ns,
            "used": self.used,
            "run_s": self.run_s,
            "counted": self.counted,
            "counted_ns": self.counted_ns,
            "phase": self.phase,
            "acted": self.acted,
            "acted_run_ns": self.acted_run_ns,
            "is_stale": self.is_stale,
            "held": self.held,
            "lease_ns": self.lease_ns,
        }

    @classmethod
    def from_json(cls, budget: Budget, value: dict[str, Any]) -> Meter:
        """Raises KeyError, TypeError, ValueError: it is damaged, or of another version."""
        return cls(budget=budget, **{**value, "held": tuple(value["held"])})

    def changed(self, budget: Budget, now_ns: int) -> Meter:
        """For another budget of the same resource: what is used stays, in the same window."""
        made, old = Meter.from_json(budget, self.to_json()), self.budget
        is_same = (old.action, old.throttle) == (budget.action, budget.throttle)
        made.is_stale = self.is_stale or (self.is_acted_on and not is_same)
        if made.phase == "given up" and not is_same:
            made.phase = ""
        if budget.window_s != self.budget.window_s:
            made.begins_ns, made.used = now_ns, 0
        return made
