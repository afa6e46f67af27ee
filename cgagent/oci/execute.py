"""`exec`: a command in a container that is running."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from cgagent.errors import ConflictError
from cgagent.kernel import seccomp
from cgagent.oci import config as oci_config
from cgagent.oci import create, init, lifecycle, store
from cgagent.runtime.container.isolation import Isolation
from cgagent.runtime.container.process import set_affinity
from cgagent.runtime.messages.children import Waiting


def execute(entry: store.Entry, process: dict[str, Any], flags: create.CreateFlags) -> create.Child:
    """A command inside, running when this returns.

    Raises:
        ConflictError: the container does not run.
        CgagentError: the command could not be executed.
    """
    state = entry.state()
    found = lifecycle.status(entry, state)
    if found != "running":
        raise ConflictError(f"container {entry.id} is {found}: nothing can be executed in it")
    config = entry.config()
    oci_config.check_process(process)
    own = lifecycle.group(state)
    isolation = Isolation.from_oci(config["linux"].get("namespaces") or ())
    oci_config.leave_out_ungrantable(process, isolation, flags.warn)
    with ExitStack() as stack:
        pidfd = os.pidfd_open(state.pid)
        stack.callback(os.close, pidfd)
        if not store.is_alive(state):
            raise store.not_running(entry.id)
        root = None
        if "mount" not in isolation.own:
            root = os.open(f"/proc/{state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, root)
        plan = init.Plan(
            config={"process": process},
            bundle=state.bundle,
            rootfs=state.rootfs,
            state={},
            join_files=own.join_files(),
            isolation=isolation,
            join=(),
            seccomp=create.filter_of(config),
            seccomp_flags=seccomp.flags_of(config["linux"].get("seccomp")),
            preserved=flags.preserved,
            console_socket=create.console_socket(process, flags, stack),
            start_socket=None,
            enter_pidfd=pidfd,
            enter_root=root,
        )
        set_affinity(process, "initial")  # ours, and inherited
        if isolation.is_user_private:
            create.give_stdio_to_root_of(state.pid)
        child = create.spawn(plan, own)
        try:
            child.expect(Waiting)
            child.expect_end()
            create.write_pid_file(flags.pid_file, child.pid)
        except BaseException:
            child.kill()
            raise
    return child
