"""``version``, ``info``, ``jobs``, ``system``, ``serve``."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from cgagent import __version__, standard
from cgagent.cli.agent import client_of, connect
from cgagent.cli.formats import print_all
from cgagent.cli.output import table
from cgagent.cli.verbs import dispatch
from cgagent.errors import CgagentError
from cgagent.units import show_size

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}

_FORMAT_HELP: Final = "json, or text with fields such as {{.%s}}"


def version(context: Context) -> int:
    parser = context.parser("[-f FORMAT]", "Show the versions of client and agent.")
    parser.add_argument("-f", "--format", metavar="FORMAT", help=_FORMAT_HELP % "Server.Version")
    form = parser.parse_args(context.args).format
    client = client_of(context)
    try:
        found = client.request("GET", "/v1/version")
    except CgagentError as e:
        if form and ".Server" in form:
            raise
        found, failure = None, e.message
    else:
        failure = ""
    if form:
        print_all([_versions(found)], form)
        return 0
    print(f"client: {__version__}")
    if found is None:
        print(f"agent:  not reached: {standard.printable(failure)}")
    else:
        print(f"agent:  {found['version']}")
    return 0


def _versions(agent: dict[str, str] | None) -> dict[str, Any]:
    """Docker's names; the agent is on the same machine."""
    machine = {"Os": "linux", "Arch": _ARCHITECTURES.get(os.uname().machine, os.uname().machine)}
    server = agent and {
        "Version": agent["version"],
        "ApiVersion": agent["api_version"],
        "KernelVersion": os.uname().release,
        **machine,
    }
    return {"Client": {"Version": __version__, **machine}, "Server": server}


def info(context: Context) -> int:
    parser = context.parser("[-f FORMAT]", "Show the agent and its host.")
    parser.add_argument("-f", "--format", metavar="FORMAT", help=_FORMAT_HELP % "ServerVersion")
    form = parser.parse_args(context.args).format
    found = connect(context).request("GET", "/v1/info")
    if form:
        print_all([_dockers_info(found)], form)
        return 0
    counts = found.pop("containers")
    controllers = found.pop("controllers")
    found.pop("time")
    found["memory"] = show_size(found.pop("memory_bytes"))
    found["controllers"] = ", ".join(f"{name} ({v})" for name, v in controllers.items())
    found["containers"] = ", ".join(f"{n} {status}" for status, n in counts.items())
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name.replace('_', ' ')}:{' ' * (width - len(name))} {value}")
    return 0


def _dockers_info(found: dict[str, Any]) -> dict[str, Any]:
    """Docker's names, and below ``Agent`` what the agent says itself."""
    counts = found["containers"]
    running = counts["running"] + counts["restarting"]
    return {
        "Containers": sum(counts.values()),
        "ContainersRunning": running,
        "ContainersStopped": sum(counts.values()) - running,
        "Images": found["images"],
        "Driver": found["storage_driver"],
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2" if found["cgroup_layout"] == "v2" else "1",
        "KernelVersion": found["kernel"],
        "OSType": "linux",
        "Architecture": found["machine"],
        "NCPU": found["cpus"],
        "MemTotal": found["memory_bytes"],
        "DockerRootDir": found["data_root"],
        "ServerVersion": found["version"],
        "Agent": found,
    }


def jobs(context: Context) -> int:
    context.parser("", "Show running jobs and the last finished.").parse_args(context.args)
    rows = [_job_row(job) for job in connect(context).request("GET", "/v1/jobs")]
    print(table(("JOB", "NAME", "STATUS", "SECONDS", "ARGUMENTS", "ERROR"), rows))
    return 0


def _job_row(job: dict[str, Any]) -> tuple[str, ...]:
    duration = job["duration_s"]
    seconds = f"{time.time() - job['started_at']:.1f}…" if duration is None else f"{duration:.3f}"
    arguments = ", ".join(f"{k}={v[:12]}" for k, v in job["arguments"].items())
    return (str(job["id"]), job["name"], job["status"], seconds, arguments, job["error"] or "")


def system(context: Context) -> int:
    verbs = {
        "check": ("system", "check"),
        "doctor": ("doctor", "doctor"),
        "recover": ("system", "recover"),
        "prune": ("disk", "prune_system"),
        "df": ("disk", "df"),
        "events": ("events", "events"),
        "info": ("system", "info"),
        "dial-stdio": ("dialstdio", "dial_stdio"),
    }
    return dispatch(context, verbs, "The agent's own state.")


def recover(context: Context) -> int:
    context.parser(
        "",
        "Rebuild what the database has lost, from the records beside containers and images. Starts "
        "an agent if none listens; one that listens has done it at its start.",
    ).parse_args(context.args)
    found = connect(context, "--adopt-lost").request("GET", "/v1/system/recovery")
    print("\n".join(found["recovered"]) or "nothing was lost")
    for name in found["lost"]:
        print(f"{name} has no record that can be read; its files are in {found['lost_and_found']}")
    return 0


def check(context: Context) -> int:
    parser = context.parser(
        "[--repair] [-q]",
        "Read all that images consist of and tell what is damaged or missing, which makes the exit "
        "code 1.",
    )
    add = parser.add_argument
    add("--repair", action="store_true", help="unpack layers again, fetch blobs again")
    add("-q", "--quiet", action="store_true", help="no progress")
    args = parser.parse_args(context.args)
    from cgagent.cli.images import follow

    body = {"repair": args.repair}
    found = follow(connect(context), "/v1/system/check", body, quiet=args.quiet)
    for problem in found["repaired"]:
        print(standard.printable(f"{problem['image']}: repaired: {problem['cause']}"))
    for problem in found["problems"]:
        print(standard.printable(f"{problem['image']}: {problem['cause']}"))
    for failure in found["failures"]:
        standard.tell(f"not repaired: {failure}")
    if not found["problems"] and not found["repaired"]:
        print("nothing is wrong")
    return 1 if found["problems"] else 0


def serve(context: Context) -> int:
    parser = context.parser("[flags]", "Run the agent. Containers outlive it.")
    add = parser.add_argument
    add("--config", metavar="FILE", help="settings (default /etc/cgagent/config.toml)")
    add("--data-root", metavar="DIR", help="images and containers (default /var/lib/cgagent)")
    add("--socket", metavar="PATH", help="(default /run/cgagent/cgagent.sock)")
    add(
        "--host",
        "-H",
        metavar="ADDRESS",
        action="append",
        dest="hosts",
        help="listen there too: tcp://HOST:PORT, unix://PATH, or fd:// for systemd's (repeatable)",
    )
    # None where it is not given: the settings decide then
    add("--tls", action="store_true", default=None, help="TLS on TCP; clients may have tokens")
    add("--tlsverify", action="store_true", default=None, help="TLS; all have certificates")
    add("--tlscacert", metavar="FILE", help="who signs clients' certificates")
    add("--tlscert", metavar="FILE", help="the agent's certificate")
    add("--tlskey", metavar="FILE", help="its key")
    add("--allowed-host", metavar="NAME", action="append", dest="allowed_hosts")
    add("--access-policy", metavar="FILE", help="who may do what (/etc/cgagent/access.toml)")
    add("--policies", metavar="DIR", help="files of rulesets (default /etc/cgagent/policies)")
    add("--cgroup-parent", metavar="PATH", help="where containers' cgroups go (default /cgagent)")
    add("--ui-listen", metavar="HOST:PORT", help="of loopback, for the page /ui (default: off)")
    add("--metrics-listen", metavar="HOST:PORT", help="(default 127.0.0.1:9753; empty: off)")
    add(
        "--sample-interval",
        metavar="SECONDS",
        dest="sample_interval_s",
        help="between readings of CPU time, memory in use, tasks and pressure (default 1)",
    )
    add(
        "--sample-full-interval",
        metavar="SECONDS",
        dest="sample_full_interval_s",
        help="between readings of everything (default 5)",
    )
    add(
        "--watch",
        metavar="PATTERN",
        action="append",
        help="groups of the host to sample too: system.slice/*.service (repeatable)",
    )
    add(
        "--metric-label",
        metavar="KEY",
        action="append",
        dest="metric_labels",
        help="a label of containers that their metrics have too (repeatable)",
    )
    add("--stop-timeout", metavar="SECONDS", dest="stop_timeout_s")
    add("--log-driver", metavar="NAME", help="of containers without one (default json-file)")
    add("--log-opt", metavar="KEY=VALUE", action="append", dest="log_opts")
    add("--storage-driver", metavar="NAME", help="overlay2, btrfs or vfs (default: what works)")
    add(
        "--build-cache-size",
        metavar="SIZE",
        help="what builds may leave to be used again, or a share of the disk (default 10%%)",
    )
    add("--registry-mirror", metavar="URL", action="append", dest="registry_mirrors")
    add("--insecure-registry", metavar="HOST", action="append", dest="insecure_registries")
    add("--add-registry", metavar="HOST", action="append", dest="add_registries")
    add("--block-registry", metavar="HOST", action="append", dest="block_registries")
    add(
        "--adopt-lost",
        action="store_true",
        help="rebuild an empty or damaged database from the records beside containers and images",
    )
    flags = vars(parser.parse_args(context.args))
    config_file, adopt_lost = flags.pop("config"), flags.pop("adopt_lost")
    from cgagent import config

    settings = config.load(flags, config_file=config_file)
    from cgagent.api.serve import serve as run_agent  # after what is refused: it takes a second

    run_agent(settings, adopt_lost=adopt_lost)
    return 0
