"""The machine's own counters, as a made /proc has them."""

from cgagent.metrics import hostload
from cgagent.policy.causes import machine

STAT = """cpu  30 0 10 160 0 0 0 0 0 0
cpu0 {busy} 0 0 {idle} 0 0 0 {steal} 0 0
cpu1 10 0 5 100 10 0 0 0 0 0
intr 5 0
procs_running {running}
"""
DISKS = """   8       0 sda {done} 0 {sectors} {waited} 0 0 0 0 0 {busy} 0 0 0 0 0 0 0
   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0
"""


def write(root, **values):
    (root / "pressure").mkdir(exist_ok=True)
    files = {
        "stat": STAT.format(**values),
        "diskstats": DISKS.format(**values),
        "loadavg": "2.50 1.00 0.50 3/200 77\n",
        "meminfo": "MemTotal: 2048 kB\nMemFree: 1 kB\nMemAvailable: 1024 kB\nHugePages_Total: 0\n",
        "vmstat": "pswpin 5\npswpout 6\n",
        "pressure/cpu": f"some avg10=0.00 avg60=0.00 avg300=0.00 total={values['waited'] * 1000}\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)


def test_two_readings(tmp_path, monkeypatch):
    clock = iter([10**9, 2 * 10**9])
    monkeypatch.setattr(hostload.time, "monotonic_ns", lambda: next(clock))
    write(tmp_path, busy=100, idle=100, steal=0, running=2, done=10, sectors=0, waited=0)
    before = hostload.read(str(tmp_path))
    write(tmp_path, busy=180, idle=110, steal=10, running=4, done=110, sectors=2000, waited=500)
    found = machine(before, hostload.read(str(tmp_path)))
    assert (found.cores, found.cpus, found.running, found.load) == (2, {0: 0.9, 1: 0.0}, 4, 2.5)
    assert (found.steal, found.cpu_some, found.memory_some) == (0.1, 0.5, None)
    assert (found.memory_bytes, found.available_bytes, found.swapped_in) == (2 << 20, 1 << 20, 0)
    disk = found.disks["8:0"]
    assert (disk.name, disk.latency_ms, disk.bytes, list(found.disks)) == (
        *("/dev/sda", 5.0, 1_024_000.0),
        ["8:0"],
    )


def test_a_kernel_that_has_none_of_it(tmp_path):
    found = hostload.read(str(tmp_path))
    assert (found.cpus, found.disks, found.load1, found.memory_bytes) == ({}, {}, None, None)
    assert machine(found, found).cores == 1
