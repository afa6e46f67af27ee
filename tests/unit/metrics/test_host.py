"""Figures of the machine."""

from cgagent.metrics import host

MEMINFO = """\
MemTotal:        1000 kB
MemFree:          100 kB
MemAvailable:     300 kB
SwapCached:         9 kB
SwapTotal:        500 kB
SwapFree:      {free} kB
"""


def test_memory_and_swap_are_of_now_in_each_round(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(host, "_MEMINFO", str(meminfo))
    meminfo.write_text(MEMINFO.format(free=400))
    first = host.sample()
    meminfo.write_text(MEMINFO.format(free=20))
    second = host.sample(first)
    assert (first.memory_total_bytes, first.memory_available_bytes) == (1000 << 10, 300 << 10)
    assert (first.swap_total_bytes, first.swap_free_bytes) == (500 << 10, 400 << 10)
    assert second.swap_free_bytes == 20 << 10
