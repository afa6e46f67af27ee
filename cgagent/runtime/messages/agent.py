"""What the agent asks the supervisor, what it is answered, and what the supervisor tells by itself.

Each request is a class that names the class of its answer. `Ask` and `Answer` carry them, with the
number that belongs to both.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeAlias, TypeVar

from cgagent.messages.record import Message, Record
from cgagent.runtime.messages.jobs import ContainerJob, ExecJob, Launch, Streams
from cgagent.runtime.messages.outcomes import Exit, Failed, Status
from cgagent.runtime.protocol import State


class Done(Message):
    """It is done, and there is nothing to tell of it."""


class Pid(Message):
    """The task's process; 0 from a start whose zygote was killed, and may be made again."""

    pid: int


class Who(Message):
    """The supervisor that answers."""

    pid: int
    keeper: int
    life: str
    """The same for a supervisor and its successors: they have the same tasks."""


A = TypeVar("A", Done, Pid, Who)


class Request(Message, Generic[A]):
    """What is answered with an `A`, or with `Failed`."""


class List(Request[Who]):
    """Tell of every task, with the events `TaskListed` and `TaskExited`, before the answer."""

    agent: str
    """Another one each time an agent starts: zygotes of the last one are ended."""


class BindSource(Record):
    """A bind mount of the job to come, and where its source is before that."""

    mount: dict[str, Any]
    now: str


class KernelMounts(Record):
    """What a zygote mounts and opens before its job is known: see `runtime.container.stage`."""

    directory: str
    config: dict[str, Any]
    """The part of an OCI configuration that most containers have the same."""
    sources: tuple[BindSource, ...] = ()


class Create(Request[Pid]):
    """Make a zygote for a container."""

    key: str
    namespaces: tuple[dict[str, Any], ...]
    """``linux.namespaces`` of the OCI configuration."""
    cgroup_dir: str | None = None
    """The directory of its cgroup in cgroup2: the process is born there."""
    join_files: tuple[str, ...] = ()
    """``tasks`` files of its cgroup in v1 hierarchies, which it joins."""
    user_ids: tuple[int, ...] | None = None
    """First and count of the ids in a user namespace of its own."""
    mounts: KernelMounts | None = None


class CreateInside(Request[Pid]):
    """Make a zygote for a command inside a container that runs."""

    key: str
    container: str
    cgroup_dir: str | None = None
    join_files: tuple[str, ...] = ()
    enter_user: bool = False
    """It joins the container's user namespace, too."""


class Attach(Request[Done]):
    """Take over a client's socket, a descriptor; a second one is a file with input read before."""

    key: str
    streams: tuple[int, ...]
    raw: bool = False
    """Output comes without frames, and no status."""
    status: bool = True
    failures: bool = False
    """A start that fails is told as text on standard error; for who gets no status."""
    detach_keys: str = ""
    stay: bool = False
    """It is closed when the task is forgotten, and not after the status."""
    log_end: tuple[int, ...] = ()
    """How far the client has the log: the file's inode, and how many bytes of it.

    It gets what is there beyond that first; refused with `ConflictError` where that is in another
    file or too much.
    """


class Prepare(Request[Pid]):
    """Let a zygote do what can be done before the start; answered when that is done.

    It makes the container's root and goes there. With `streams` and the job's process, as far as
    that is known, it does all that comes before its start.
    """

    key: str
    job: ContainerJob
    streams: Streams | None = None


class Start(Request[Pid]):
    """Let the zygote become its command; answered when that runs."""

    key: str
    job: ContainerJob | ExecJob
    streams: Streams
    launch: Launch | None = None
    """Another runtime makes the process."""
    trees: tuple[int, ...] | None = None
    """Mounts that were made for it come as descriptors: its root, then those at these places of
    the OCI configuration's ``mounts``."""
    owner: int | None = None
    """To whom its pipes belong, where the process itself cannot take them."""
    own: bool = False
    """It is the agent's own, and ends with it."""
    renewable: bool = False
    """If the zygote was killed it is not a failure: the answer has the pid 0."""


class Signal(Request[Done]):
    key: str
    signal: int
    group: bool = False
    """To its process group."""


class Resize(Request[Done]):
    """Of its terminal."""

    key: str
    rows: int
    columns: int


class Forget(Request[Done]):
    """End a task that does not run yet, or forget one that has ended."""

    key: str
    status: Status | None = None
    """What clients are told that wait for its start."""
    keep_clients: bool = False
    """They wait for the next task of that key."""


AnyRequest: TypeAlias = (
    List | Create | CreateInside | Attach | Prepare | Start | Signal | Resize | Forget
)


class Ask(Message):
    seq: int
    request: AnyRequest
    again: bool = False
    """A supervisor before this one may have been asked, and may have done it."""


class Answer(Message):
    seq: int
    result: Done | Pid | Who | Failed


class TaskListed(Message):
    key: str
    state: State
    pid: int


class TaskExited(Message):
    key: str
    exit: Exit


class TaskStarted(Message):
    """One that an agent before this one had asked for."""

    key: str
    pid: int


class ClientCutOff(Message):
    """A client that was attached to the task, as it did not read."""

    key: str


class Moved(Message):
    """The supervisor is another process now, with the same connection."""

    who: Who


TOLD: Final = (Answer, TaskListed, TaskExited, TaskStarted, ClientCutOff, Moved)
"""What the agent hears."""
