"""Lines that show each command at work, for ``--help`` and the manual pages.

The tests run them all, in this order, with an agent that has the image alpine, a container ``web``
of it that runs, the network ``app`` and the volume ``data``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_EXAMPLES: Final = {
    "run": (
        "cgagent run --rm --memory 256m alpine cat /etc/alpine-release",
        "cgagent run -d --name box --cpus 0.5 --pids-limit 64 -v data:/srv alpine sleep 1000",
        "cgagent run -d -p 127.0.0.1:8080:80 --restart unless-stopped alpine nc -lk -p 80 -e date",
    ),
    "create": ("cgagent create --name later --read-only --tmpfs /tmp alpine sleep 1000",),
    "start": ("cgagent start later",),
    "stop": ("cgagent stop -t 1 later",),
    "restart": ("cgagent restart -t 0 web",),
    "kill": ("cgagent kill -s HUP web",),
    "exec": (
        "cgagent exec web ps",
        "cgagent exec -u nobody -w /tmp -e GREETING=hello web sh -c 'id -un; echo $GREETING'",
    ),
    "cp": (
        "cgagent cp web:/etc/os-release .",
        "cgagent cp os-release web:/tmp/",
        "cgagent cp web:/etc - | tar t",
    ),
    "diff": ("cgagent diff web",),
    "top": ("cgagent top web -o pid,user,args",),
    "ui": ("cgagent ui", "cgagent ui --scope control --expires 1h"),
    "ps": (
        "cgagent ps -a --filter label=team=a --filter status=running",
        "cgagent ps --format 'table {{.Names}}\\t{{.Status}}\\t{{.Ports}}'",
        "cgagent ps --format '{{if eq .State \"running\"}}{{.Names}}{{end}}'",
    ),
    "inspect": (
        "cgagent inspect -f '{{.State.Status}} {{.HostConfig.Memory}}' web",
        "cgagent inspect -f '{{json .LimitsHeld}}' web",
        "cgagent inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' web",
    ),
    "logs": ("cgagent logs -t --tail 20 --since 10m web",),
    "stats": (
        "cgagent stats --no-stream",
        "cgagent stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.MemUsage}}' web",
    ),
    "why": (
        "cgagent why web",
        "cgagent why --window 200ms --format '{{.Lost}} {{.Kind}} {{.Command}}' web",
    ),
    "fits": ("cgagent fits --memory 16m --by use",),
    "advise": (
        "cgagent advise",
        "cgagent advise --groups",
        "cgagent advise --format '{{.Name}} {{.Flags}}' web",
    ),
    "capacity": ("cgagent capacity",),
    "update": (
        "cgagent update --memory 128m --cpus 1.5 web",
        "cgagent update --restart on-failure:5 web",
    ),
    "freeze": ("cgagent freeze --for 30s web",),
    "thaw": ("cgagent thaw web",),
    "hibernate": ("cgagent hibernate --for 8h web",),
    "group create": (
        "cgagent group create --memory 1g --cpus 2 --max-containers 10 team-a",
        "cgagent group create --pids-limit 100 --budget cpu=10h/24h team-a/backend",
    ),
    "group add": ("cgagent group add team-a/backend web",),
    "group ls": ("cgagent group ls",),
    "group stats": ("cgagent group stats team-a",),
    "group update": ("cgagent group update --memory 2g team-a",),
    "group freeze": ("cgagent group freeze --for 30s team-a",),
    "group thaw": ("cgagent group thaw team-a",),
    "group leave": ("cgagent group leave web",),
    "group rm": ("cgagent group rm team-a/backend team-a",),
    "wait": ("cgagent wait later",),
    "rename": ("cgagent rename later sooner",),
    "rm": ("cgagent rm sooner", "cgagent rm -f $(cgagent ps -aq --filter name=box)"),
    "cgroup": ("cgagent cgroup tree", "cgagent cgroup show /"),
    "cgroup why": ("cgagent cgroup why --window 200ms /",),
    "cgroup show": ("cgagent cgroup show /",),
    "images": (
        "cgagent images --filter dangling=false",
        "cgagent images --format '{{.Repository}}:{{.Tag}} {{.Size}}'",
    ),
    "commit": ("cgagent commit -c 'CMD [\"sh\"]' web mine:1",),
    "tag": ("cgagent tag mine:1 registry.example/team/mine:1",),
    "history": ("cgagent history mine:1",),
    "save": ("cgagent save -o mine.tar mine:1",),
    "load": ("cgagent load -i mine.tar",),
    "export": ("cgagent export -o web.tar web",),
    "import": ("cgagent import -c 'CMD [\"sh\"]' web.tar flat:1",),
    "rmi": ("cgagent rmi mine:1 registry.example/team/mine:1 flat:1",),
    "volume create": ("cgagent volume create --label team=a cache",),
    "volume ls": ("cgagent volume ls -q --filter label=team=a",),
    "volume rm": ("cgagent volume rm cache",),
    "network create": ("cgagent network create --subnet 10.214.7.0/24 --internal back",),
    "network connect": ("cgagent network connect --alias db app web",),
    "network disconnect": ("cgagent network disconnect app web",),
    "network rm": ("cgagent network rm back",),
    "events": (
        "cgagent events --no-follow --since 10m --filter container=web",
        "cgagent events --no-follow --since 10m --format '{{.Action}} {{.Actor.Attributes.name}}'",
    ),
    "system df": ("cgagent system df -v",),
    "system prune": ("cgagent system prune -f --filter label=team=none",),
    "system doctor": ("cgagent system doctor",),
    "info": ("cgagent info -f '{{.Driver}} {{.CgroupVersion}}'",),
}


def of(command: str) -> tuple[str, ...]:
    """Those of a command, such as ``volume ls``; the long forms of docker have the short one's."""
    short = command.removeprefix("container ").removeprefix("image ")
    return _EXAMPLES.get(command) or _EXAMPLES.get(short) or ()


def all_in_order() -> list[str]:
    """Each once, as the tests run them."""
    return list(dict.fromkeys(line for lines in _EXAMPLES.values() for line in lines))
