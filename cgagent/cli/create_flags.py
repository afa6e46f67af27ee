"""The flags of ``run`` and ``create``, docker's spellings, and what they become in a request.

What takes parsing is parsed by `cgagent.cli.create_values`, loaded only for a flag that was given:
this module is on the path of every ``run``.
"""

from __future__ import annotations

from cgagent.cli import limits
from cgagent.cli.flags import REMAINDER
from cgagent.errors import InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from cgagent.cli.flags import Flags, Namespace


_TEXTS: Final = (  # flag, metavar, help, the request's field
    ("--name", "NAME", "a name for the container", "name"),
    ("--domainname", "NAME", "NIS domain name inside", "domainname"),
    ("--pid", "MODE", "pid namespace: host, container:NAME", "pid"),
    ("--ipc", "MODE", "ipc namespace: private, shareable, none, host, container:NAME", "ipc"),
    ("--uts", "MODE", "uts namespace: host", "uts"),
    ("--cgroup-parent", "PATH", "the group to be in; cgagent's own is usual", "cgroup_parent"),
    ("--group", "GROUP", "the group of containers to be in, with its limits", "group"),
    ("--cgroupns", "MODE", "cgroup namespace: private, host", "cgroupns"),
    ("--userns", "MODE", "user namespace: host, or auto: one of its own", "userns"),
    ("--health-cmd", "COMMAND", "run inside to check its health", "health_cmd"),
    ("--health-interval", "TIME", "between two checks; default 30s", "health_interval"),
    ("--health-timeout", "TIME", "for a check; default 30s", "health_timeout"),
    ("--health-retries", "N", "failures before it is unhealthy; default 3", "health_retries"),
    ("--health-start-period", "TIME", "in which failures do not count", "health_start_period"),
    ("--health-start-interval", "TIME", "between checks in it; 5s", "health_start_interval"),
    ("--restart", "POLICY", "no, on-failure[:N], always, unless-stopped", "restart"),
    ("--reclaim", "MODE", "take back memory it does not need: auto, auto:psi=0.1", "reclaim"),
    ("--boost", "WIDER", "for each start: cpus=2,memory=1g,for=30s or for=healthy", "boost"),
    ("--budget", "USE", "what it may use in a time: cpu=1h/24h,io=50g/1d:freeze", "budget"),
    ("--auto-size", "RANGES", "limits as it needs them: memory=128m..1g,cpu=0.1..2", "auto_size"),
    ("--hibernate-after", "TIME", "sleep after so long without work", "hibernate_after_s"),
    ("--runtime", "NAME", "an OCI runtime: native, crun, runc, a path, ...", "runtime"),
    ("--stop-signal", "SIGNAL", "what stop sends first", "stop_signal"),
)
_LISTS: Final = (
    ("--cap-add", "CAPABILITY", "a capability beyond the default ones, or ALL", "cap_add"),
    ("--cap-drop", "CAPABILITY", "a default capability not to have, or ALL", "cap_drop"),
    ("--device-cgroup-rule", "RULE", "such as 'c 42:* rmw'", "device_cgroup_rules"),
    ("--group-add", "GID", "a further group of the user's", "group_add"),
    ("--add-host", "NAME:ADDRESS", "a line of /etc/hosts", "extra_hosts"),
    ("--dns", "ADDRESS", "a name server", "dns"),
    ("--expose", "PORT[/PROTOCOL]", "a port that --publish-all publishes", "expose"),
    ("--link", "CONTAINER[:ALIAS]", "a name for another container", "link"),
    ("--volumes-from", "CONTAINER[:ro|:rw]", "what another has mounted", "volumes_from"),
    ("--network-alias", "NAME", "a further name in its network", "network_alias"),
    ("--dns-search", "DOMAIN", "a search domain; . for none", "dns_search"),
)
_PARSED: Final = (  # by the function of that name in create_values
    ("--mount", "KEY=VALUE,...", "type=bind|volume|tmpfs,source=...,target=...", "mounts"),
    ("--tmpfs", "TARGET[:OPTIONS]", "a file system in memory", "tmpfs"),
    ("--device", "HOST[:CONTAINER[:rwm]]", "a device of the host", "devices"),
    ("--ulimit", "NAME=SOFT[:HARD]", "a resource limit, such as nofile=1024", "ulimits"),
    ("--sysctl", "NAME=VALUE", "a kernel parameter of its namespaces", "sysctls"),
    ("--storage-opt", "size=SIZE", "the most that it may write to its root", "root_limit_bytes"),
    ("--security-opt", "OPTION", "no-new-privileges, seccomp=FILE, ...", "security_opt"),
)
_NETWORKING: Final = (  # by network_flags
    *("network", "publish", "publish_all", "expose", "network_alias", "link"),
    *("ip", "ip6", "link_local_ip", "mac_address"),
)


def add_flags(parser: Flags) -> None:
    add = parser.add_argument
    add("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="environment")
    add("--env-file", action="append", default=[], metavar="FILE", help="lines of environment")
    add("-l", "--label", action="append", default=[], metavar="NAME=VALUE", help="label")
    add("--label-file", action="append", default=[], metavar="FILE", help="lines of labels")
    add("--annotation", action="append", default=[], metavar="NAME=VALUE", help="for OCI runtimes")
    add("-w", "--workdir", metavar="DIR", help="working directory inside")
    add("-u", "--user", metavar="USER[:GROUP]", help="who runs the command")
    add(
        "-v",
        "--volume",
        action="append",
        default=[],
        metavar="[SOURCE:]TARGET[:OPTIONS]",
        help="a directory of the host, or a volume by name or of its own",
    )
    add("-h", "--hostname", help="host name inside")
    add("--entrypoint", metavar="COMMAND", help="instead of the image's entrypoint")
    add(
        *("--network", "--net"),
        action="append",
        default=[],
        metavar="NETWORK",
        help="bridge, another network, host, none, container:NAME; name=NAME,alias=,ip=,...",
    )
    add(
        *("-p", "--publish"),
        action="append",
        default=[],
        metavar="[[ADDRESS:]HOST:]PORT[/PROTOCOL]",
        help="a port of the host's that it answers",
    )
    add("-P", "--publish-all", action="store_true", help="each exposed port, on a free one")
    add("--ip", metavar="ADDRESS", help="its IPv4 address")
    add("--ip6", metavar="ADDRESS", help="its IPv6 address")
    local = "one more address, of 169.254.0.0/16 or fe80::/10"
    add("--link-local-ip", action="append", default=[], metavar="ADDRESS", help=local)
    add("--mac-address", metavar="ADDRESS", help="of its interface")
    add("--read-only", action="store_true", help="a read-only root file system")
    add("--privileged", action="store_true", help="every capability and device, no filter")
    add("--rm", action="store_true", help="remove the container when it ends")
    add("-i", "--interactive", action="store_true", help="keep standard input open")
    add("-t", "--tty", action="store_true", help="give it a terminal")
    add("--init", action="store_true", help="a small init as the first process, to reap others")
    add("--pull", choices=["always", "missing", "never"], default="missing", help="the image")
    add("-q", "--quiet", action="store_true", help="no progress of a pull")
    add("--disable-content-trust", action="store_true", default=True, help="without effect")
    add("--platform", metavar="OS/ARCH", help="of the image; it is pulled if the one here is not")
    add("--cidfile", metavar="FILE", help="write the container's id there")
    add("--shm-size", metavar="SIZE", help="of /dev/shm; default 64m")
    add("--oom-score-adj", type=int, metavar="N", help="-1000 to 1000: more is killed sooner")
    add("--no-healthcheck", action="store_true", help="not even the image's")
    add("--log-driver", metavar="NAME", help="where output is kept: json-file, journald, none")
    add("--log-opt", action="append", default=[], metavar="KEY=VALUE", help="such as max-size=10m")
    add("--stop-timeout", type=int, metavar="SECONDS", help="before SIGKILL; -1: never")
    add(
        "--dns-option",
        "--dns-opt",
        action="append",
        default=[],
        metavar="OPTION",
        help="a resolver option",
    )
    for flag, metavar, text, field in _TEXTS:
        add(flag, metavar=metavar, help=text, dest=field)
    for flag, metavar, text, field in (*_LISTS, *_PARSED):
        add(flag, action="append", default=[], metavar=metavar, help=text, dest=field)
    limits.add_flags(parser)
    add("image", metavar="IMAGE", help="a name, or host for this machine's own files")
    add("command", nargs=REMAINDER, metavar="COMMAND", help="instead of the image's")


def request(args: Namespace, *, foreground: bool) -> dict[str, Any]:
    """The body of a request to create; only what was given.

    Raises:
        InvalidInputError: a value of a form that is none.
    """
    values = {
        "image": args.image,
        "platform": args.platform,
        "command": args.command,
        "entrypoint": None
        if args.entrypoint is None
        else [args.entrypoint]
        if args.entrypoint
        else [],
        "env": [*lines(args.env_file, "env"), *map(env, args.env)],
        "working_dir": args.workdir,
        "user": args.user,
        "hostname": args.hostname,
        "binds": [_bind(item) for item in args.volume],
        "labels": dict(_pair(i) for i in (*lines(args.label_file, "label"), *args.label)),
        "annotations": dict(map(_pair, args.annotation)) or None,
        "limits": limits.request(args),
        "auto_remove": args.rm,
        "stdin": args.interactive,
        "stdin_once": args.interactive and foreground,
        "read_only": args.read_only,
        "privileged": args.privileged,
        "tty": args.tty,
        "init": args.init,
        "shm_size_bytes": None if args.shm_size is None else _size(args.shm_size, "--shm-size"),
        "oom_score_adj": args.oom_score_adj,
        "stop_timeout_s": args.stop_timeout,
        "log": _log(args),
        "dns_options": args.dns_option or None,
        **{f: getattr(args, f) for *_, f in _TEXTS if not f.startswith("health_")},
        "hibernate_after_s": _seconds(args.hibernate_after_s, "--hibernate-after"),
        "health": _health(args),
        "restart": None if args.restart is None else restart_policy(args.restart),
        **{f: getattr(args, f) or None for *_, f in _LISTS if f not in _NETWORKING},
        **_parsed(args),
        **_networking(args),
    }
    if args.tty:
        values["console_size"] = console_size(interactive=foreground and args.interactive)
    return {name: value for name, value in values.items() if value is not None}


def _seconds(text: str | None, what: str) -> float | None:
    if text is None:
        return None
    from cgagent.units import parse_duration

    return parse_duration(text, what)


def console_size(*, interactive: bool) -> tuple[int, int] | None:
    """Rows and columns of our own terminal; None if there is none.

    Raises:
        InvalidInputError: input is to come from a terminal, and does not.
    """
    from cgagent.cli import terminal

    terminal.require(interactive=interactive)
    return terminal.size()


def _health(args: Namespace) -> dict[str, Any] | None:
    fields = [field for *_, field in _TEXTS if field.startswith("health_")]
    given = {field: value for field in fields if (value := getattr(args, field)) is not None}
    if not given and not args.no_healthcheck:
        return None
    from cgagent.cli import create_values

    return create_values.health(given, disabled=args.no_healthcheck)


def restart_policy(text: str) -> dict[str, Any]:
    """Of ``--restart``: a name, and after a colon how often at most."""
    name, separator, retries = text.partition(":")
    if separator and not retries.lstrip("-").isdecimal():
        raise InvalidInputError(f"--restart {text!r}: the number of retries must be an integer")
    return {"name": name, **({"max_retries": int(retries)} if separator else {})}


def _log(args: Namespace) -> dict[str, Any] | None:
    options = dict(map(_pair, args.log_opt))
    if args.log_driver is None and not options:
        return None
    return {"driver": args.log_driver or "", "options": options}


def _networking(args: Namespace) -> dict[str, Any]:
    if not any(getattr(args, name) for name in _NETWORKING):
        return {}
    from cgagent.cli import network_flags

    return network_flags.request(args)


def _parsed(args: Namespace) -> dict[str, Any]:
    given = {field: getattr(args, field) for *_, field in _PARSED if getattr(args, field)}
    if not given:
        return {}
    from cgagent.cli import create_values

    return {field: getattr(create_values, field)(items) for field, items in given.items()}


def lines(files: list[str], what: str) -> list[str]:
    if not files:
        return []
    from cgagent.cli import create_values

    return create_values.lines(files, what)


def _size(text: str, flag: str) -> int:
    from cgagent.units import parse_size

    return parse_size(text, flag)


def env(item: str) -> str:
    """``NAME`` alone takes the value from our own environment; without one there it stays so."""
    if "=" in item:
        return item
    import os

    return f"{item}={os.environ[item]}" if item in os.environ else item


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


def _bind(item: str) -> str:
    """A relative source is made absolute here: the agent has another working directory."""
    source, separator, rest = item.partition(":")
    if separator and source.startswith((".", "~")):
        import os

        source = os.path.abspath(os.path.expanduser(source))
    return source + separator + rest
