"""Making zygotes: the supervisor's side of it, until the process is there and waits."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from cgagent.kernel import namespaces, userns
from cgagent.runtime.container import zygote
from cgagent.runtime.container.birth import Born, spawn
from cgagent.runtime.container.isolation import Isolation

if TYPE_CHECKING:
    from cgagent.runtime.messages.agent import Create, CreateInside


class Zygotes:
    """Makes them; the process that has this is their parent."""

    def __init__(self) -> None:
        self._mount_namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def make(self, asked: Create) -> Born:
        """One for a container.

        Raises:
            InvalidInputError: a namespace to join is none, or of another kind.
            OSError: the kernel refuses it.
        """
        isolation = Isolation.from_oci(asked.namespaces)
        with ExitStack() as stack:
            join = isolation.open(stack)
            where = zygote.Surroundings(
                asked.join_files,
                isolation.own,
                tuple(j for j in join if j[0] != namespaces.CLONE_NEWPID),
                self._mount_namespace,
                asked.mounts,
            )
            born = spawn(
                partial(namespaces.clone, isolation.clone_flags),
                lambda sock: zygote.run(sock, where),
                cgroup_dir=asked.cgroup_dir,
                pid_namespace=dict(join).get(namespaces.CLONE_NEWPID),
            )
        if "user" in isolation.own and asked.user_ids is not None:
            _map_ids(born, asked.user_ids)
        return born


def make_inside(asked: CreateInside, pidfd: int) -> Born:
    """One for a command in the container whose first process has this pidfd."""
    where = zygote.Surroundings(asked.join_files, enter_pidfd=pidfd, enter_user=asked.enter_user)
    return spawn(
        partial(namespaces.clone, 0),
        lambda sock: zygote.run(sock, where),
        cgroup_dir=asked.cgroup_dir,
        pid_namespace=pidfd,
    )


def _map_ids(born: Born, block: tuple[int, ...]) -> None:
    """Of a process that is alone in a new user namespace."""
    try:
        userns.Mappings.of_block(*block).write(born.pid)
    except BaseException:
        born.kill()
        os.close(born.pidfd)
        born.sock.close()
        raise
