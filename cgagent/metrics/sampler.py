"""Reading every container's accounting at a steady interval, in one thread.

What changes fast is read at each interval, all of it at each `full_interval_s`; the targets take
turns at that, so that no round is dearer than another. What was sampled is kept and served many
times: neither a scrape nor an API call reads the kernel, except `sample_now`. The thread is a
daemon and off the event loop; its owner calls `start` and `stop`. Every other method may be
called from any thread and does not block for longer than one container's reading.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from cgagent.cgroups import Reader
from cgagent.errors import NotFoundError
from cgagent.metrics import host as machine
from cgagent.metrics import network
from cgagent.metrics.background import Background
from cgagent.metrics.history import COLUMNS, History, Past, row_of
from cgagent.metrics.rates import Rates, between, load
from cgagent.metrics.rising import Rising
from cgagent.metrics.samples import HostSample, Moment, Sample, SamplerState, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cgagent.cgroups import Descriptors, Host, Limits, Usage

_LIMITS_AGE_NS: Final = 60 * 10**9
"""Of a group that nobody asked limits for: reading them opens each file anew, 0.3 ms."""
_IDLE_AGE_NS: Final = 60 * 10**9
"""What needs a running task to change is read so often of a group in which none has run."""
_BUSY_ABOVE: Final = 0.02
"""Of the time, at most, for each group above others: the kernel sums up all groups below it."""
_RESTED: Final = 15
"""Rounds at rest that are put off at most."""


class NetworkView(Protocol):
    """What is known of containers' networks, by their ids."""

    def names(self, target_id: str) -> Mapping[str, str]:
        """The network that each of its interfaces is in."""

    def held(self, target_id: str) -> Mapping[str, Any]:
        """What the kernel holds of the limits, fields of `Limits`, that are no group's."""


class _Track:
    """What is kept of one target.

    Of one at rest the rounds are only noted: `settle` before looking at it.
    """

    def __init__(self, turn: int, sample: Sample) -> None:
        self.turn = turn
        """The round, of those between two full readings, in which it is read in full."""
        self.latest = sample
        self.rates: Rates | None = None
        self.before: Moment | None = None
        """The sample before the latest, of the same run."""
        self.history = History(sample.at_s)
        self._load = 0.0
        self._row = row_of(sample, None)
        self.history.add(sample.at_s, self._row)
        self._rested: list[tuple[float, int]] = []
        self.rests = False
        """The next sample will say nothing new if its usage is the same."""

    def rest(self, at: tuple[float, int]) -> None:
        """In place of a sample with the same usage; `at`: the wall clock, the monotonic one."""
        self._rested.append(at)
        if len(self._rested) == _RESTED:
            self.settle()

    def settle(self) -> None:
        if not self._rested:
            return
        devices = self.rates.devices if self.rates else None
        for at_s, _ in self._rested:
            self.history.add(at_s, self._row, devices)
        moments = (self.latest.at_s, self.latest.monotonic_ns), *self._rested
        (before_s, before_ns), (at_s, monotonic_ns) = moments[-2:]
        self.before = Moment(before_s, before_ns, self.latest.usage.cpu)
        self.latest = replace(self.latest, at_s=at_s, monotonic_ns=monotonic_ns)
        self._rested.clear()

    def add(self, sample: Sample) -> None:
        self.settle()
        earlier = self.latest
        passed_s = (sample.monotonic_ns - earlier.monotonic_ns) / 1e9
        restarted = earlier.target.started_at_s != sample.target.started_at_s
        rates = between(earlier, sample, self.rates)
        if sample.usage is not earlier.usage or rates is not self.rates:
            self._row = row_of(sample, rates)
        self.before = None if restarted else earlier.moment
        self.rates = rates
        self._load = load(self._load, rates, passed_s)
        self.rests = self._is_at_rest(rates)
        rounded = round(1000 * self._load)
        self.latest = replace(sample, load_1000=rounded) if rounded else sample
        self.history.add(sample.at_s, self._row, rates.devices if rates else None)

    def _is_at_rest(self, rates: Rates | None) -> bool:
        """What has just had traffic is not: its rate would stay as it was until it is read again.

        Traffic that comes to a sleeper keeps it in its rest: it is told once a minute.
        """
        if rates is None or self._load or not rates.are_none:
            return False
        return self.rests or not rates.has_traffic


class Sampler:
    """Samples what `targets` returns, each `interval_s`.

    `targets` is called in the sampler's thread at each tick. The last samples of a target that
    is no longer returned, or whose group has gone, stay until `forget`. `descriptors` bounds
    what is kept open; by default all readers of this process share one bound. `tick_ended` is
    called in the thread, after each tick, `view` asked with each full reading.
    """

    def __init__(
        self,
        host: Host,
        interval_s: float,
        targets: Callable[[], Iterable[Target]],
        descriptors: Descriptors | None = None,
        *,
        full_interval_s: float = 0.0,
        tick_ended: Callable[[], None] = lambda: None,
        view: NetworkView | None = None,
    ) -> None:
        self._host = host
        self._interval_s = interval_s
        self._ticks_per_full = max(round(full_interval_s / interval_s), 1)
        self._targets = targets
        self._descriptors = descriptors
        self._lock = threading.Lock()
        self._sources: dict[str, _Source] = {}
        self._tracks: dict[str, _Track] = {}
        self._tracks_made = 0
        self._devices: dict[str, str] = {}
        self._machine: HostSample | None = None
        self._state = SamplerState()
        self._frozen: set[str] = set()
        self._fresh: set[str] = set()
        self._tick_ended = tick_ended
        self._view = view
        self._background = Background("sampler", self._run)
        self.start = self._background.start

    def stop(self) -> None:
        """End the thread and close every descriptor; what was sampled stays."""
        self._background.stop()
        with self._lock:
            for source in self._sources.values():
                source.close()
            self._sources.clear()

    def latest(self, target_id: str) -> Sample | None:
        with self._lock:
            track = self._settled(target_id)
            return track.latest if track else None

    def rates(self, target_id: str) -> Rates | None:
        """From the sample before the latest to the latest."""
        with self._lock:
            track = self._settled(target_id)
            return track.rates if track else None

    def before(self, target_id: str) -> Moment | None:
        """CPU time at the sample before the latest; None: there is none of this run."""
        with self._lock:
            track = self._settled(target_id)
            return track.before if track else None

    def history(self, target_id: str, since_s: float = 0.0) -> Past:
        """What is later than `since_s`; see `cgagent.metrics.history`."""
        with self._lock:
            track = self._settled(target_id)
            return track.history.past(since_s) if track else Past([], {})

    def columns(
        self, target_id: str, since_s: float, names: Iterable[str] = COLUMNS
    ) -> dict[str, list[float | None]]:
        """The same by column, "at_s" among them; empty lists where nothing is kept."""
        names = tuple(names)
        with self._lock:
            track = self._settled(target_id)
            return (
                track.history.columns(since_s, names)
                if track
                else {name: [] for name in ("at_s", *names)}
            )

    def _settled(self, target_id: str) -> _Track | None:
        track = self._tracks.get(target_id)
        if track:
            track.settle()
        return track

    def live(self) -> list[Sample]:
        """The latest sample of each target whose group was there at the last tick."""
        with self._lock:
            present = list(self._sources)
        # One by one: what was put off for thousands at rest takes a while to settle.
        found = map(self.latest, present)
        return [sample for sample in found if sample is not None]

    def machine(self) -> HostSample | None:
        """The machine's figures at the last tick."""
        with self._lock:
            return self._machine

    def state(self) -> SamplerState:
        with self._lock:
            return self._state

    def device_name(self, device: str) -> str:
        """A block device's path ("/dev/sda") for its "MAJOR:MINOR", as found when sampled."""
        return self._devices.get(device, device)

    def sample_now(self, target: Target) -> Sample:
        """Sample one target at once; call it before a finished container's group is removed.

        Raises:
            NotFoundError: its group is gone.
        """
        with self._lock:
            return self._sample(target, full=True)

    def limits_changed(self, target_id: str) -> None:
        """Read this target's limits anew with its next sample."""
        with self._lock:
            if target_id in self._sources:
                self._sources[target_id].limits_read_ns = None

    def forget(self, target_id: str) -> None:
        """Drop all that is kept of a target; its container was removed."""
        with self._lock:
            self._drop(target_id)
            self._tracks.pop(target_id, None)

    def tick(self) -> None:
        """Sample all targets and the machine once; the thread's work at each interval."""
        targets = {target.id: target for target in self._targets()}
        turn = self._state.ticks % self._ticks_per_full
        with self._lock:
            self._fresh.clear()
            for gone in self._sources.keys() - targets.keys():
                self._drop(gone)
        failures, read = self._state.failures, 0
        for target in targets.values():
            try:
                with self._lock:
                    self._next(target, turn)
                read += 1
            except NotFoundError:
                continue  # it ended between being listed and being read
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are sampled
                self._failed(f"{target.id}: {error!r}")
        now = machine.sample(self._machine if turn else None)
        with self._lock:
            self._machine = now
            self._state = replace(
                self._state,
                ticks=self._state.ticks + 1,
                samples=self._state.samples + read,
                failed=self._state.failures > failures,
            )
        self._tick_ended()

    def frozen(self) -> frozenset[str]:
        """Ids of the targets that were frozen when they were last sampled."""
        with self._lock:
            return frozenset(self._frozen)

    def fresh(self) -> frozenset[str]:
        """Ids of those that the last round has read: the others' figures are as they were."""
        with self._lock:
            return frozenset(self._fresh)

    def _failed(self, error: str) -> None:
        with self._lock:
            failures = self._state.failures + 1
            self._state = replace(self._state, failures=failures, failed=True, last_error=error)

    def _run(self) -> None:
        """Tick at multiples of the interval since the start, so that no delay adds up."""
        due_s = time.monotonic()
        while not self._background.wait(max(due_s - time.monotonic(), 0)):
            began_s = time.monotonic()
            try:
                self.tick()
            except Exception as error:  # noqa: BLE001 - the thread outlives whatever `targets` does
                self._failed(f"targets: {error}")
            ended_s = time.monotonic()
            missed = int((ended_s - due_s) / self._interval_s)
            with self._lock:
                self._state = replace(
                    self._state,
                    missed_ticks=self._state.missed_ticks + missed,
                    lag_s=began_s - due_s,
                    duration_s=ended_s - began_s,
                )
            due_s += (missed + 1) * self._interval_s

    def _next(self, target: Target, turn: int) -> None:
        """In full at the target's turn, at rest once a minute; the time alone where it rests.

        Memory of a group at rest is read at its turn all the same: reclaim takes it just then.
        """
        source, track = self._sources.get(target.id), self._tracks.get(target.id)
        if source is None or track is None:
            self._sample(target, full=True)
            return
        if target.is_above:
            if track.turn == turn and source.is_due:
                self._sample(target, full=True)
            return
        idle = self._ticks_per_full > 1 and track.rests and source.is_idle
        its_turn = track.turn == turn
        full = its_turn and not idle
        if not its_turn and track.rests and source.target is target and source.rests():
            track.rest((time.time(), time.monotonic_ns()))
        else:
            self._sample(target, full=full, at_rest=its_turn)

    def _sample(self, target: Target, *, full: bool, at_rest: bool = False) -> Sample:
        source = self._sources.get(target.id)
        track = self._tracks.get(target.id)
        if source and source.target == target:
            source.target = target  # the one that is asked for from now on
            sample = source.try_sample(full=full, at_rest=at_rest)
        else:
            sample = None
        if sample is None:
            # New, restarted, or the group that the descriptors knew has gone.
            self._drop(target.id)
            source = _Source(self._host, target, self._descriptors, self._view)
            sample = source.sample(full=True)
            self._sources[target.id] = source
        if track:
            track.add(sample)
        else:
            self._tracks[target.id] = _Track(self._tracks_made % self._ticks_per_full, sample)
            self._tracks_made += 1
        self._fresh.add(target.id)
        (self._frozen.add if sample.usage.frozen else self._frozen.discard)(target.id)
        for device in _devices(sample):
            if device not in self._devices:
                self._devices[device] = _device_path(device)
        return sample

    def _drop(self, target_id: str) -> None:
        self._frozen.discard(target_id)
        source = self._sources.pop(target_id, None)
        if source:
            source.close()


class _Source:
    """The descriptors and the limits kept of one target."""

    def __init__(
        self,
        host: Host,
        target: Target,
        descriptors: Descriptors | None,
        view: NetworkView | None,
    ) -> None:
        self.target = target
        self._view = view
        self.limits_read_ns: int | None = None
        self._group = host.group(target.cgroup_path)
        self._reader = Reader(self._group, descriptors, deep=not target.is_above)
        self._due_ns = 0
        self._limits: Limits
        self._rising = Rising(target.carried)
        self._frozen_ns = (target.carried or {}).get("frozen_ns") or 0
        self._frozen_at_ns: int | None = None
        self._clocked: tuple[Usage, Usage] | None = None
        self._usage: Usage | None = None
        self._full_usage: Usage | None = None
        self._full_ns = 0
        self._network: tuple[network.Interface, ...] | None = None

    def sample(self, *, full: bool, at_rest: bool = False) -> Sample:
        """`at_rest`: what is read fast is read even if nothing has run.

        Raises NotFoundError when the group is gone; the descriptors are closed then.
        """
        full = full or not self._full_ns
        began_ns = time.monotonic_ns()
        try:
            usage = self._reader.read(full=full, at_rest=at_rest)
            now_ns = time.monotonic_ns()
            if full:
                self._full_ns = now_ns
                self._network = self._interfaces()
            age_ns = 0 if self.target.asked else _LIMITS_AGE_NS
            if self.limits_read_ns is None or (full and now_ns - self.limits_read_ns >= age_ns):
                self._limits = self._held()
                self.limits_read_ns = now_ns
        except BaseException:
            self.close()
            raise
        self._due_ns = now_ns + int((time.monotonic_ns() - began_ns) * (1 / _BUSY_ABOVE - 1))
        usage = self._rising.of(usage)
        if usage.frozen_ns is None and usage.frozen is not None:
            usage = self._with_clock(usage, self._clock(now_ns, frozen=usage.frozen))
        self._usage = usage
        if full:
            self._full_usage = usage
        return Sample(
            self.target, time.time(), now_ns, self._full_ns, usage, self._limits, self._network
        )

    def _held(self) -> Limits:
        held = self._group.held()
        return replace(held, **self._view.held(self.target.id)) if self._view else held

    def _interfaces(self) -> tuple[network.Interface, ...] | None:
        if self.target.cgroup_path == "/":
            return network.of_machine()
        found = network.read(self.target.pid) if self.target.pid else None
        names = self._view.names(self.target.id) if self._view and found else {}
        if not found or not names:
            return found
        return tuple(replace(one, network=names.get(one.name, "")) for one in found)

    @property
    def is_due(self) -> bool:
        """The last reading is long enough ago for what it cost."""
        return time.monotonic_ns() >= self._due_ns

    def rests(self) -> bool:
        """A sample, but a full one, would be as the last."""
        if self._usage is None or self._usage.frozen or self.limits_read_ns is None:
            return False
        return self._reader.rests()

    @property
    def is_idle(self) -> bool:
        """Nothing has run in it since all was read, and that is less than a minute ago."""
        is_fresh = time.monotonic_ns() - self._full_ns < _IDLE_AGE_NS
        return is_fresh and self._usage is self._full_usage

    def _clock(self, now_ns: int, *, frozen: bool) -> int:
        """Time frozen from sample to sample, for kernels that do not count it."""
        if self._frozen_at_ns is not None:
            self._frozen_ns += now_ns - self._frozen_at_ns
        self._frozen_at_ns = now_ns if frozen else None
        return self._frozen_ns

    def _with_clock(self, usage: Usage, frozen_ns: int) -> Usage:
        """As from the reader: the same object again where nothing is new."""
        known = self._clocked
        if known is None or known[0] is not usage or known[1].frozen_ns != frozen_ns:
            known = self._clocked = usage, replace(usage, frozen_ns=frozen_ns)
        return known[1]

    def try_sample(self, *, full: bool, at_rest: bool = False) -> Sample | None:
        """None when the group is gone."""
        try:
            return self.sample(full=full, at_rest=at_rest)
        except NotFoundError:
            return None

    def close(self) -> None:
        self._reader.close()


def _devices(sample: Sample) -> Iterator[str]:
    yield from (io.device for io in sample.usage.io or ())
    yield from (caps.device for caps in sample.limits.io_max or ())


def _device_path(device: str) -> str:
    """A path, "/dev/sda" for "8:0"; the numbers themselves for a device that has gone."""
    try:
        return "/dev/" + os.path.basename(os.readlink(f"/sys/dev/block/{device}"))
    except OSError:
        return device
