"""The engine itself: everything the agent does, put together once and started and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cgagent import __version__
from cgagent.cgroups import Host
from cgagent.engine import policies
from cgagent.engine.access import Access
from cgagent.engine.access.judge import Judge
from cgagent.engine.build.builds import Builds
from cgagent.engine.commits import Commits
from cgagent.engine.containers import bundle
from cgagent.engine.containers.registry import Containers
from cgagent.engine.events import Events
from cgagent.engine.explaining import Explanations
from cgagent.engine.groups.changes import GroupChanges
from cgagent.engine.groups.directories import GroupDirectories
from cgagent.engine.groups.ending import GroupEnding
from cgagent.engine.groups.freezing import GroupFreezing
from cgagent.engine.groups.grouping import Grouping
from cgagent.engine.groups.holding import GroupHolding
from cgagent.engine.groups.moving import Moving
from cgagent.engine.groups.registry import Groups
from cgagent.engine.groups.whole import Whole
from cgagent.engine.hostgroups import HostGroups
from cgagent.engine.images import ImageJobs
from cgagent.engine.jobs import Jobs
from cgagent.engine.lifecycle import Leftovers, Lifecycle, Shared, reconcile, recovery
from cgagent.engine.lifecycle.adopt import Adoption
from cgagent.engine.lifecycle.control import Control
from cgagent.engine.lifecycle.hibernation import Hibernation
from cgagent.engine.lifecycle.parents import Parents
from cgagent.engine.lifecycle.placement import Placement
from cgagent.engine.lifecycle.pool import Pool
from cgagent.engine.networks import Networks
from cgagent.engine.networks.limits import NetworkLimits
from cgagent.engine.networks.membership import Membership
from cgagent.engine.networks.naming import Naming
from cgagent.engine.networks.resource import Networked
from cgagent.engine.networks.traffic import Traffic
from cgagent.engine.observe import tracing
from cgagent.engine.observe.abilities import abilities
from cgagent.engine.observe.freezes import ForeignFreezes
from cgagent.engine.observe.idle import IdleSleep
from cgagent.engine.observe.log_compression import LogCompression
from cgagent.engine.observe.monitor import Monitor
from cgagent.engine.observe.network import NetworkFigures
from cgagent.engine.observe.policies import Policies
from cgagent.engine.observe.sizes import ContainerSizes
from cgagent.engine.observe.watch import GroupWatch, parse_trigger
from cgagent.engine.options.logging import LogConfig
from cgagent.engine.options.runtimes import Runtimes
from cgagent.engine.policies.boosting import Boosting
from cgagent.engine.policies.budgeting import Budgeting
from cgagent.engine.policies.reclaiming import Reclaiming
from cgagent.engine.policies.subjects import Subjects
from cgagent.engine.pruning import Pruning
from cgagent.engine.registries import RegistryJobs
from cgagent.engine.requestkeys import RequestKeys
from cgagent.engine.sessions.copying import Copying
from cgagent.engine.sessions.logs import Logs
from cgagent.engine.sessions.probes import Probed, Probes
from cgagent.engine.sessions.streams import Streams
from cgagent.engine.sizing.autosizing import AutoSizing
from cgagent.engine.sizing.capacity import Capacity
from cgagent.engine.sizing.usages import Usages
from cgagent.engine.volumes import Volumes
from cgagent.errors import CgagentError, ConflictError
from cgagent.images.store import Images
from cgagent.network import ipam
from cgagent.runtime.client import Supervisor
from cgagent.runtime.seccomp.compiled import Filters
from cgagent.store.containers import ContainerRows
from cgagent.store.events import EventRows
from cgagent.store.groups import GroupRows
from cgagent.store.networks import NetworkRows
from cgagent.store.policies import PolicyRows
from cgagent.store.requestkeys import RequestKeyRows
from cgagent.store.states import StateRows
from cgagent.store.usage import UsageRows
from cgagent.store.volumes import VolumeRows

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from cgagent.config import Settings
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.selection import Selection
    from cgagent.engine.lifecycle.pool import Slot
    from cgagent.engine.observe.abilities import Ability
    from cgagent.metrics import PolicyCounts
    from cgagent.runtime.client import Tasks
    from cgagent.runtime.messages.outcomes import Exit

log = logging.getLogger(__name__)

_AMID_S: Final = 5.0
"""Background work has so many seconds to end when the agent stops."""
_SCARCE_BYTES: Final = 1 << 20


class Engine:
    """Built from settings; `start` before use, `stop` at the end. Containers outlive it."""

    def __init__(
        self, settings: Settings, *, adopt_lost: bool = False, host: Host | None = None
    ) -> None:
        """`adopt_lost`: an empty or damaged database is rebuilt, as `Recovery` says.

        `host` is whose cgroups are used; None: this machine's.
        """
        self.settings = settings
        self.started_ns = time.time_ns()
        self._lock_fds = _lock(settings)
        try:
            self.database = recovery.open_database(settings.data_root, adopt_lost=adopt_lost)
            self._compose(Host.detect() if host is None else host)
        except BaseException:
            self._unlock()
            raise

    def _compose(self, host: Host) -> None:
        self.host = host
        self.access = Access(self.settings, self.database)
        images = Images(self.settings, self.database)
        self._store_images = images
        self._compose_lower(images)
        self._compose_lifecycle(images)
        self._compose_upper(images)

    def _compose_lower(self, images: Images) -> None:
        """What containers are made of and watched by."""
        settings = self.settings
        containers_dir = self._containers_dir = settings.data_root / "containers"
        self.events = Events(EventRows(self.database))
        self.containers = Containers(ContainerRows(self.database, containers_dir), self.events)
        self.container_groups = Groups(
            *(GroupRows(self.database), self.containers, self.events), settings.cgroup_parent
        )
        self.request_keys = RequestKeys(RequestKeyRows(self.database))
        self.policies = Policies()
        self.tracer = tracing.tracer()
        self.jobs = Jobs(
            lambda job: self.monitor.observe_job(job),  # noqa: PLW0108 - it is not there yet
            lambda job: self.builds.cache.observe(job),  # noqa: PLW0108 - nor is this
            *([self.tracer.observe] if self.tracer else []),
            judge=Judge(self.containers.find, settings.cgroup_parent),
        )
        self.networks = Networks(
            NetworkRows(self.database),
            tuple(map(ipam.Pool.parse, settings.address_pools)),
            settings.data_root,
            self.jobs,
            self.events,
        )
        self._network_limits = NetworkLimits(self.networks)
        self.monitor = Monitor(
            self.host,
            settings,
            self.containers,
            self.events,
            self.policies,
            log_path=partial(bundle.log_path, containers_dir),
            volumes=lambda: self.volumes.paths(),  # noqa: PLW0108 - there are none yet
            network=NetworkFigures(
                *(self.networks, self._network_limits, self.containers),
                settings.sample_full_interval_s,
            ),
            groups=self.container_groups,
        )
        self.volumes = Volumes(
            settings.data_root / "volumes",
            VolumeRows(self.database),
            self.containers,
            self.jobs,
            self.events,
        )
        self.supervisor = Supervisor(settings.run_dir, settings.data_root / "supervisor.log", self)
        triggers = tuple(map(parse_trigger, settings.pressure_triggers))
        self.watch = GroupWatch(self.events, self.containers.note, triggers, self.policies.happened)
        notes = settings.data_root / "cgroup-parents.json"
        self._parents = Parents(self.host, self.containers, settings.cgroup_parent, notes)
        self._group_directories = GroupDirectories(self.host, self.container_groups, self._parents)
        self._placement = Placement(self.host, self._parents)
        self.pool = Pool(
            self._placement,
            self.supervisor,
            self.watch,
            containers_dir=containers_dir,
            stage_dir=settings.run_dir / "stage",
            release_root=images.release,
            places=self.networks.endpoints,
        )
        self.networks.leave_ahead = self.pool.leave

    def _compose_lifecycle(self, images: Images) -> None:
        settings = self.settings
        self._leftovers = Leftovers()
        shared = Shared(
            containers=self.containers,
            groups=self.container_groups,
            images=images,
            volumes=self.volumes,
            networks=self.networks,
            supervisor=self.supervisor,
            placement=self._placement,
            pool=self.pool,
            parents=self._parents,
            jobs=self.jobs,
            events=self.events,
            containers_dir=self._containers_dir,
            filters=Filters(settings.data_root / "seccomp"),
            watch=self.watch,
            runtimes=Runtimes(self.host, settings, settings.run_dir / "runtimes"),
            leftovers=self._leftovers,
            userns=settings.userns,
            monitor=self.monitor,
        )
        self.lifecycle = Lifecycle(
            shared,
            stop_timeout_s=settings.stop_timeout_s,
            log_default=LogConfig.parse(settings.log_driver, settings.log_opts),
        )

    def _compose_upper(self, images: Images) -> None:
        """What works with containers that are there."""
        settings = self.settings
        self.control = Control(
            *(self.containers, self.lifecycle, self.jobs, self.monitor.refresh),
            self._network_limits,
        )
        self.policies.add(ForeignFreezes(self.containers, self.control))
        self.adoption = Adoption(
            self.host, self.containers, self.lifecycle, self.jobs, settings.cgroup_parent
        )
        self._compose_groups()
        self.moving = Moving(
            *(self.host, self.container_groups, self.containers, self.lifecycle, self.control),
            parents=self._parents,
            monitor=self.monitor,
            jobs=self.jobs,
        )
        self.groups = HostGroups(self.host, self.containers, self.jobs, settings.cgroup_parent)
        self.explanations = Explanations(
            *(self.host, self.containers, self.monitor, self.events),
            parent=settings.cgroup_parent,
            groups=self.container_groups,
        )
        self.usages = Usages(
            *(self.containers, self.container_groups, UsageRows(self.database)),
            self.monitor.device_name,
        )
        self.policies.add(self.usages)
        self.capacity = Capacity(
            *(self.host, self.containers, self.monitor),
            *(settings.cgroup_parent, self.container_groups),
        )
        self.streams = Streams(self.supervisor, self.lifecycle, self.control, self.jobs)
        self.logs = Logs(self.lifecycle)
        self.probes = Probes(self.containers, self.streams, self.control)
        self.lifecycle.resources.add(Probed(self.probes))
        self.naming = Naming(
            settings.run_dir, self.networks.endpoints, self.networks.get, self.containers
        )
        self.networks.relayed = self.naming.relayed
        self.traffic = Traffic(self.networks)
        self.hibernation = Hibernation(
            *(self.lifecycle, self.containers, self.control, self.traffic),
            commands=self.streams.running_in,
            jobs=self.jobs,
            events=self.events,
        )
        self._idle_sleep = IdleSleep(self.containers, self.hibernation, self.streams.is_used)
        self.policies.add(self._idle_sleep)
        networked = Networked(
            *(self.networks, self.naming, self.containers, self.lifecycle.bundle),
            traffic=self.traffic,
            limits=self._network_limits,
        )
        self.lifecycle.resources.add(networked)
        self.membership = Membership(
            self.networks, self.naming, networked, self.containers, self.jobs
        )
        self._log_compression = LogCompression(
            self.containers, lambda container_id: self.lifecycle.bundle(container_id).log
        )
        self._compose_policies()
        self._compose_images(images)
        self._background: set[asyncio.Task[None]] = set()
        self._stops = False

    def _compose_groups(self) -> None:
        """What is done with groups of containers."""
        changes = GroupChanges(
            self.container_groups, self._group_directories, self.jobs, self.monitor.refresh_group
        )
        ending = GroupEnding(changes, self.containers, self.lifecycle)
        self.grouping = Grouping(changes, self.lifecycle, ending, parents=self._parents)
        self.whole_groups = Whole(
            groups=self.container_groups,
            directories=self._group_directories,
            freezing=GroupFreezing(changes, self.control),
            holding=GroupHolding(changes),
            ending=ending,
        )
        self.policies.add(self.whole_groups.freezing)

    def _compose_images(self, images: Images) -> None:
        """Images, what is made of containers, and what is cleared away of both."""
        settings = self.settings
        self.copying = Copying(self.lifecycle, self.jobs)
        self.images = ImageJobs(
            images, self.containers, self.jobs, self.events, self._let_go_of_images
        )
        self.commits = Commits(images, self.lifecycle, self.control, self.jobs, self.events)
        self.registries = RegistryJobs(images, self.images, self.jobs, self.events)
        self.builds = Builds(
            settings=settings,
            host=self.host,
            store=images,
            images=self.images,
            containers=self.containers,
            lifecycle=self.lifecycle,
            parents=self._parents,
            streams=self.streams,
            monitor=self.monitor,
            jobs=self.jobs,
            events=self.events,
        )
        self.sizes = ContainerSizes(self.images)
        self.pruning = Pruning(
            containers=self.containers,
            lifecycle=self.lifecycle,
            images=self.images,
            volumes=self.volumes,
            sizes=self.sizes,
            builds=self.builds.cache,
            jobs=self.jobs,
        )
        self.recovery = recovery.Recovery(self.containers, images, self.events, settings.data_root)

    def _compose_policies(self) -> None:
        """Rulesets and proactive reclaim, which act by themselves on what the monitor shows."""
        subjects = Subjects(
            *(self.host, self.containers, self.control, self.lifecycle, self.whole_groups),
            used=self.monitor.used_by,
        )
        self.rulesets = policies.made(
            self.settings,
            PolicyRows(self.database),
            host=self.host,
            containers=self.containers,
            lifecycle=self.lifecycle,
            subjects=subjects,
            groups=self.groups,
            jobs=self.jobs,
            events=self.events,
            watch=self.monitor.watch_too,
            own_pids=self._own_pids,
        )
        decided = self.rulesets.decisions
        self.boosting = Boosting(self.containers, self.control, decided)
        self.budgeting = Budgeting(
            containers=self.containers,
            groups=self.container_groups,
            subjects=subjects,
            decided=decided,
            rows=StateRows(self.database, "budget"),
        )
        self.control.wished.append(self.budgeting.wished)
        self.lifecycle.starts.asked = self.budgeting.user_starts
        self.whole_groups.ending.may_start = self.budgeting.lets_start
        self.grouping.asked = self.budgeting.asked_of_group
        self.grouping.dropped = self.budgeting.group_dropped
        self.autosizing = AutoSizing(
            *(self.containers, self.control, self.usages, decided),
            StateRows(self.database, "auto-size"),
        )
        self.lifecycle.resources.add(self.autosizing)
        self.policies.add(self.autosizing)
        self.lifecycle.resources.add(self.boosting)
        self.lifecycle.resources.add(self.budgeting)
        self.policies.add(self.budgeting)
        self.policies.add(self.boosting)
        self.reclaiming = Reclaiming(*(self.host, self.containers, self.container_groups), subjects)
        self.policies.add(self.rulesets)
        self.policies.add(self.reclaiming)
        self.monitor.policy_counts = self._policy_counts
        self.monitor.reclaimed = self.reclaiming.of
        self.monitor.reclaim_view = self.reclaiming.view
        self.monitor.budgets = self.budgeting.uses
        self.monitor.budgets_view = self.budgeting.view
        self.monitor.last_sampled = self.budgeting.sampled
        self.rulesets.sources.budgets = self.budgeting.percents

    def reload(self) -> None:
        """Read the access policy and files of rulesets again; mistakes leave the last ones."""
        self.access.reload()
        self._spawn(self._reload_rulesets())

    async def _reload_rulesets(self) -> None:
        try:
            await self.rulesets.reload()
        except CgagentError as e:
            log.error("the rulesets of before stay at work: %s", e.message)  # noqa: TRY400
        else:
            log.info("files of rulesets were read again")

    def _own_pids(self) -> set[int]:
        theirs = self.supervisor.pid, self.supervisor.keeper_pid, self.naming.pid
        return {os.getpid(), *filter(None, theirs)}

    def _policy_counts(self) -> PolicyCounts:
        found = self.rulesets.counts()
        reclaimed = found.reclaimed_bytes + self.reclaiming.reclaimed_bytes
        return replace(found, reclaimed_bytes=reclaimed)

    async def start(self) -> None:
        """Find the containers of an earlier agent, clean up after it, begin to sample."""
        if self.database.free_bytes() < _SCARCE_BYTES:
            log.warning(
                "the disk of %s is full: containers can be ended and removed, and hardly anything "
                "else until there is room",
                self.settings.data_root,
            )
        self.containers.load()
        await asyncio.to_thread(self.recovery.images)
        self.recovery.containers()
        self.watch.start()
        tasks = await self.supervisor.connect()
        await reconcile.reconcile(self.containers, self.lifecycle, tasks, at_start=True)
        await self.adoption.resume()
        await self.moving.resume()
        self._group_directories.complete_all()
        await self._leftovers.gone()
        await reconcile.sweep(
            self.containers,
            self.lifecycle.resources,
            self.host,
            self._parents,
            self._containers_dir,
            tasks=tasks,
            set_apart=self.recovery.set_apart,
        )
        for container in self.containers:
            if container.running:
                self.lifecycle.resources.resumed(container)
        await self.builds.resume()
        await self.naming.resume()
        await self.control.resume()
        self.whole_groups.freezing.resume()
        self.boosting.resume()
        self.budgeting.resume()
        await self.autosizing.resume()
        await self.rulesets.resume()
        self.lifecycle.restarts.resume()
        self.policies.start()
        self.monitor.start()
        self._log_compression.start()
        self.pool.expect(self.networks.usual())
        self.pool.refill()
        self.images.resume()

    async def stop(self) -> None:
        """Let go of everything; running containers go on under the supervisor.

        What that tells from now on is left to the next agent.
        """
        self._stops = True
        if amid := set(self._background):
            for task in amid:
                task.cancel()
            await asyncio.wait(amid, timeout=_AMID_S)
        self.policies.stop()
        await self.rulesets.close()
        await self.reclaiming.close()
        self.boosting.close()
        await self.budgeting.close()
        await self.autosizing.close()
        self.adoption.close()
        self.lifecycle.restarts.close()
        self.probes.close()
        self.control.close()
        self.whole_groups.freezing.close()
        self._idle_sleep.close()
        self.hibernation.close()
        await self._log_compression.close()
        await self.pool.close()
        await self._leftovers.gone()
        await self.traffic.close()
        await self.naming.close()
        await self.networks.close(in_use=any(c.running for c in self.containers))
        await self.images.close()
        await self.builds.cache.close()
        self.monitor.stop()
        await self.usages.close()
        self.watch.close()
        self.supervisor.close()
        self._remove_empty_parent()
        self.database.close()
        self._unlock()
        if self.tracer:
            await asyncio.to_thread(self.tracer.close)

    def _unlock(self) -> None:
        for fd in self._lock_fds:
            os.close(fd)

    def _remove_empty_parent(self) -> None:
        if not any(c.running for c in self.containers):
            with contextlib.suppress(CgagentError):  # not empty: another agent's, leave it
                self.host.group(self.settings.cgroup_parent).remove(0)

    def selected(self, selection: Selection) -> list[Container]:
        """The containers that a listing shows. Raises InvalidInputError: a filter that is none."""
        return selection.of(self.containers, self._networks_of, self._groups_of)

    def _groups_of(self, container: Container) -> list[str]:
        """Names of all groups that it is in."""
        above = self.container_groups.above(container.record.cgroup_path)
        return [group.name for group in above]

    def _networks_of(self, container: Container) -> list[str]:
        """Names and ids of the networks that it is in, and the names it was made with."""
        ids = [endpoint.network_id for endpoint in self.networks.endpoints.of(container.id)]
        names = [network.name for id_ in ids if (network := self.networks.get(id_)) is not None]
        return [*ids, *names, *(n.network for n in container.record.config.networks)]

    def info(self) -> dict[str, Any]:
        """Who and where this agent is. Paths as strings, times in Unix seconds."""
        counts = {"created": 0, "running": 0, "restarting": 0, "exited": 0}
        for container in self.containers:
            counts[container.record.outcome.status] += 1
        return {
            "version": __version__,
            "pid": os.getpid(),
            "supervisor_pid": self.supervisor.pid,
            "keeper_pid": self.supervisor.keeper_pid,
            "names_pid": self.naming.pid,
            "data_root": str(self.settings.data_root),
            "data_root_free_bytes": self.database.free_bytes(),
            "storage_driver": self._store_images.storage.driver.name,
            "storage_driver_reason": self._store_images.storage.reason,
            "storage_limits": self._store_images.storage.driver.limits,
            "started_at": self.started_ns / 1e9,
            "socket": str(self.settings.socket),
            "ui_listen": self.settings.ui_listen,
            "metrics_listen": self.settings.metrics_listen,
            "cgroup_layout": self.host.layout,
            "cgroup_parent": self.settings.cgroup_parent,
            "controllers": {
                name: f"v{p.version}" for name, p in sorted(self.host.placements.items())
            },
            "kernel": os.uname().release,
            "machine": os.uname().machine,
            "cpus": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "containers": counts,
            "images": len(self.images.all()),
            "time": time.time(),
        }

    def abilities(self) -> list[Ability]:
        """What this host can do; takes some ms."""
        return abilities(self.host.placements)

    async def _let_go_of_images(self) -> None:
        """What has an image's layers from now on is a container."""
        await self.pool.discard_prewarmed()
        await self._leftovers.gone()

    # -- what the supervisor tells ----------------------------------------------------------

    def task_exited(self, key: str, exit_: Exit) -> None:
        if "/" in key:
            self._spawn(self.streams.exited(key, exit_))
            return
        container = self.containers.get(key)
        if container is not None:
            self._spawn(self.lifecycle.exited(container, exit_))
        else:
            log.warning("the supervisor tells of container %s, which is not known", key)
            self._spawn(self.pool.discard(key))

    def task_started(self, key: str, pid: int) -> None:
        """Of one that an agent before us had asked for."""
        container = self.containers.get(key)
        if container is not None:
            self._spawn(self.lifecycle.started(container, pid))

    def client_cut_off(self, key: str) -> None:
        """Of a container, or of a command in one: a client that did not read."""
        self.monitor.clients_cut_off += 1
        container = self.containers.get(key.partition("/")[0])
        if container is not None:
            self.events.tell(container, "client_cut_off")

    def supervisor_replaced(self, tasks: Tasks) -> None:
        """The one there is now has nothing of ours."""
        self._spawn(self._start_over(tasks, self.pool.forget_all()))

    async def _start_over(self, tasks: Tasks, lost: list[Slot]) -> None:
        await reconcile.reconcile(self.containers, self.lifecycle, tasks, at_start=False)
        await self.pool.clean_up(lost)
        self.pool.refill()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._stops:
            work.close()
            return
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("background work failed", exc_info=task.exception())


def _lock(settings: Settings) -> list[int]:
    """One agent a data root, and one a directory of sockets: the supervisor's is there.

    Raises:
        ConflictError: another agent has it.
    """
    settings.data_root.mkdir(mode=0o711, parents=True, exist_ok=True)
    settings.run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    data = _lock_file(settings.data_root / "agent.lock", "data root", "--data-root")
    try:
        lock = settings.run_dir / "supervisor.lock"
        return [data, _lock_file(lock, "socket directory", "--socket")]
    except BaseException:
        os.close(data)
        raise


def _lock_file(path: Path, what: str, flag: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise ConflictError(
            f"{what} {path.parent} is in use by another agent (pid {owner}); "
            f"stop that one or give this one its own {flag}"
        ) from None
    with contextlib.suppress(OSError):  # for people to read; the disk may be full
        os.pwrite(fd, f"{os.getpid():<16}\n".encode(), 0)
    return fd
