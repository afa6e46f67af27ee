"""Other OCI runtimes than our own (crun, runc, runsc) as what makes a container's processes.

    supervisor ── clone ──> launcher ── fork, exec ──> crun create ── clone ──> first process
        │                      │                       (ends)                   an orphan: now the
        │<── pid and pidfd ────│                                                supervisor's child
        │                      │── crun start
        │<── ready, end ───────│

The launcher is a zygote that never becomes the command: it mounts the container's root in a mount
namespace of its own, calls the runtime, and ends. Everything else is as with our own runtime: the
supervisor is the parent and holds pipes, terminal and log; the cgroup was made and limited
before, and limits, usage, freezing and killing need no runtime. What a runtime keeps of a
container lies below a root of states of the agent's own, and goes with ``delete`` at the end.
"""
