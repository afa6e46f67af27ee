"""What Prometheus sees, from synthetic samples."""

import gzip
import os
import re
import shutil
import time
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from cgagent.cgroups import (
    UNLIMITED,
    Cpu,
    Descendants,
    DeviceIo,
    HugePages,
    IoMax,
    Limits,
    Memory,
    Pids,
    Pressure,
    Psi,
    RdmaDevice,
    Stall,
    Usage,
)
from cgagent.metrics import (
    Asked,
    Counted,
    Disk,
    Metrics,
    Sample,
    SamplerState,
    Standing,
    Target,
    host,
)
from tests.world.prometheus import complaints

WEB = Target("0123", "web", "nginx:1", "/cgagent/0123", 1000.5)
OLD = Target("4567", 'o"ld\n', "", "/cgagent/4567", 900.0)
MAJOR = {"failure_type": "pgmajfault", "scope": "hierarchy"}
BLKIO = {"device": "/dev/sda", "major": "8", "minor": "0"}
LABELS = {"id": "/cgagent/0123", "name": "web", "image": "nginx:1"}

STALL = Stall(avg10=1, avg60=2, avg300=3, total_ns=1_500_000_000)
USAGE = Usage(
    cpu=Cpu(
        usage_ns=2_500_000_000,
        user_ns=2_000_000_000,
        system_ns=500_000_000,
        periods=10,
        throttled_periods=3,
        throttled_ns=250_000_000,
        bursts=1,
        burst_ns=1_000_000,
        throttled_local_ns=750_000_000,
    ),
    memory=Memory(
        current_bytes=1000,
        peak_bytes=2000,
        swap_bytes=0,
        anon_bytes=300,
        file_bytes=400,
        mapped_bytes=50,
        kernel_bytes=27,
        inactive_file_bytes=100,
        active_file_bytes=200,
        working_set_bytes=900,
        failcnt=4,
        pgfault=70,
        pgmajfault=7,
        dirty_bytes=21,
        writeback_bytes=22,
        refault_anon=23,
        refault_file=24,
        pgscan=25,
        pgsteal=26,
        oom_kills=2,
        events={"low": 0, "high": 5, "max": 4, "oom": 3, "oom_kill": 2},
        events_local={"high": 6},
        swap_events={"fail": 8},
        swap_peak_bytes=11,
        zswap_bytes=12,
    ),
    io=(DeviceIo(device="8:0", rbytes=1030, wbytes=20, rios=1, wios=2, cost_ns={"usage": 10**9}),),
    pids=Pids(current=5, processes=3, peak=9, refused=1, refused_local=13),
    pressure=Pressure(cpu=Psi(some=STALL, full=STALL), memory=Psi(some=STALL), io=None, irq=STALL),
    frozen=True,
    frozen_ns=3_000_000_000,
    hugetlb=(HugePages(size="2MB", current_bytes=1 << 21, peak_bytes=1 << 22, refused=14),),
    rdma=(RdmaDevice(device="mlx4_0", hca_handles=15, hca_objects=16),),
    misc={"sev": 17},
    dmem_bytes={"drm/card0/vram": 18},
    descendants=Descendants(live=19, dying=20),
)
LIMITS = Limits(
    cpu_shares=512,
    cpu_quota_us=50_000,
    cpu_period_us=100_000,
    memory_max_bytes=4096,
    memory_swap_max_bytes=UNLIMITED,
    memory_low_bytes=0,
    pids_max=UNLIMITED,
    io_max=(IoMax(major=8, minor=0, rbps=UNLIMITED, wbps=1000, riops=20),),
)


class Samples:
    """A sampler that has sampled these."""

    def __init__(self, live, latest=None):
        self._live = live
        self._latest = {sample.target.id: sample for sample in latest or live}
        self._machine = host.sample()

    def live(self):
        return self._live

    def latest(self, target_id):
        return self._latest.get(target_id)

    def machine(self):
        return self._machine

    @staticmethod
    def state():
        return SamplerState(
            ticks=7, samples=70, missed_ticks=2, failures=1, failed=True, lag_s=0.25, duration_s=0.5
        )

    @staticmethod
    def device_name(device):
        return {"8:0": "/dev/sda"}.get(device, device)


@pytest.fixture
def metrics():
    web = Sample(WEB, 1234.5, 0, 0, USAGE, LIMITS, load_1000=1500)
    old = Sample(OLD, 950.0, 0, 0, USAGE, LIMITS)
    counted = Counted(8, {"sleeping": 2, "running": 1}, 4096, 3, 1 << 30, 99, 100, "8:0", 6, 1024)
    standings = [
        Standing(
            target=WEB,
            state="frozen",
            restarts=3,
            health="healthy",
            counted=counted,
            disk=Disk("/dev/sda", 1, 2000, 3, 4000, 5, 6000, 7000),
            created_at_s=999.5,
            log_bytes=28,
            limits_changed_at_s=1100.5,
            started_at_s=1000.5,
        ),
        Standing(
            target=OLD,
            state="exited",
            exit_code=137,
            oom_killed=True,
            limiting_group="/cgagent",
            started_at_s=900.0,
            ended_at_s=951.0,
        ),
    ]
    volumes = {"data": 29}
    metrics = Metrics(
        Samples([web], [web, old]),
        lambda: standings,
        events_dropped=lambda: 21,
        clients_cut_off=lambda: 3,
        volume_bytes=lambda: volumes,
    )
    metrics.observe_job("start", "done", 0.003, {"configure": 0.001, "launch": 0.002})
    metrics.observe_job("start", "failed", 0.2, {"configure": 0.2})
    return metrics


@pytest.fixture
def value(metrics):
    families = list(parse_text(metrics.render().body.decode()))
    found = {}
    for family in families:
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"{sample.name} is there twice"
            found[key] = sample.value
    return lambda series, /, **labels: found.get((series, frozenset(labels.items())))


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("container_cpu_usage_seconds_total", {"cpu": "total"}, 2.5),
        ("container_cpu_user_seconds_total", {}, 2),
        ("container_cpu_system_seconds_total", {}, 0.5),
        ("container_cpu_cfs_periods_total", {}, 10),
        ("container_cpu_cfs_throttled_periods_total", {}, 3),
        ("container_cpu_cfs_throttled_seconds_total", {}, 0.25),
        ("container_cpu_cfs_burst_periods_total", {}, 1),
        ("container_cpu_cfs_burst_seconds_total", {}, 0.001),
        ("container_memory_usage_bytes", {}, 1000),
        ("container_memory_working_set_bytes", {}, 900),
        ("container_memory_rss", {}, 300),
        ("container_memory_cache", {}, 400),
        ("container_memory_mapped_file", {}, 50),
        ("container_memory_kernel_usage", {}, 27),
        ("container_memory_events_high_total", {}, 5),
        ("container_memory_events_max_total", {}, 4),
        ("container_memory_swap", {}, 0),
        ("container_memory_max_usage_bytes", {}, 2000),
        ("container_memory_total_active_file_bytes", {}, 200),
        ("container_memory_total_inactive_file_bytes", {}, 100),
        ("container_memory_failcnt_total", {}, 4),  # by the parser's spelling; it has no _total
        ("container_memory_failures_total", {"failure_type": "pgfault", "scope": "hierarchy"}, 70),
        ("container_memory_failures_total", MAJOR, 7),
        ("container_memory_file_dirty_bytes", {}, 21),
        ("container_memory_file_writeback_bytes", {}, 22),
        ("container_memory_workingset_refault_anon_total", {}, 23),
        ("container_memory_workingset_refault_file_total", {}, 24),
        ("container_memory_pgscan_total", {}, 25),
        ("container_memory_pgsteal_total", {}, 26),
        ("cgagent_container_memory_events_total", {"event": "high"}, 5),
        ("cgagent_container_cpu_throttled_local_seconds_total", {}, 0.75),
        ("cgagent_container_memory_events_local_total", {"event": "high"}, 6),
        ("cgagent_container_memory_swap_events_total", {"event": "fail"}, 8),
        ("cgagent_container_memory_swap_peak_bytes", {}, 11),
        ("cgagent_container_memory_zswap_bytes", {}, 12),
        ("cgagent_container_forks_refused_local_total", {}, 13),
        ("cgagent_container_pressure_irq_stalled_seconds_total", {}, 1.5),
        ("cgagent_container_frozen_seconds_total", {}, 3),
        ("container_hugetlb_usage_bytes", {"pagesize": "2MB"}, 1 << 21),
        ("container_hugetlb_failcnt_total", {"pagesize": "2MB"}, 14),
        ("cgagent_container_rdma_hca_handles", {"device": "mlx4_0"}, 15),
        ("cgagent_container_rdma_hca_objects", {"device": "mlx4_0"}, 16),
        ("cgagent_container_misc", {"resource": "sev"}, 17),
        ("cgagent_container_dmem_bytes", {"region": "drm/card0/vram"}, 18),
        ("cgagent_container_cgroup_descendants", {}, 19),
        ("cgagent_container_cgroup_dying_descendants", {}, 20),
        ("container_hugetlb_max_usage_bytes", {"pagesize": "2MB"}, 1 << 22),
        ("cgagent_container_fs_cost_seconds_total", {"device": "/dev/sda", "kind": "usage"}, 1),
        ("container_cpu_load_average_10s", {}, 1500),
        ("container_fs_sector_reads_total", {"device": "/dev/sda"}, 2),
        ("container_fs_sector_writes_total", {"device": "/dev/sda"}, 0),
        ("container_blkio_device_usage_total", {**BLKIO, "operation": "Read"}, 1030),
        ("container_blkio_device_usage_total", {**BLKIO, "operation": "Write"}, 20),
        ("container_file_descriptors", {}, 8),
        ("container_sockets", {}, 6),
        ("container_ulimits_soft", {"ulimit": "max_open_files"}, 1024),
        ("container_tasks_state", {"state": "sleeping"}, 2),
        ("container_fs_usage_bytes", {"device": "overlay"}, 4096),
        ("container_fs_limit_bytes", {"device": "overlay"}, 1 << 30),
        ("container_fs_inodes_free", {"device": "overlay"}, 99),
        ("container_fs_inodes_total", {"device": "overlay"}, 100),
        ("cgagent_container_fs_inodes_used", {"device": "overlay"}, 3),
        ("container_fs_reads_merged_total", {"device": "/dev/sda"}, 1),
        ("container_fs_read_seconds_total", {"device": "/dev/sda"}, 2),
        ("container_fs_writes_merged_total", {"device": "/dev/sda"}, 3),
        ("container_fs_write_seconds_total", {"device": "/dev/sda"}, 4),
        ("container_fs_io_current", {"device": "/dev/sda"}, 5),
        ("container_fs_io_time_seconds_total", {"device": "/dev/sda"}, 6),
        ("container_fs_io_time_weighted_seconds_total", {"device": "/dev/sda"}, 7),
        ("cgagent_container_started_seconds", {}, 1000.5),
        ("cgagent_container_ended_seconds", {}, None),
        ("container_fs_reads_bytes_total", {"device": "/dev/sda"}, 1030),
        ("container_fs_writes_bytes_total", {"device": "/dev/sda"}, 20),
        ("container_fs_reads_total", {"device": "/dev/sda"}, 1),
        ("container_fs_writes_total", {"device": "/dev/sda"}, 2),
        ("container_threads", {}, 5),
        ("container_threads_max", {}, 0),
        ("container_processes", {}, 3),
        ("cgagent_container_threads_peak", {}, 9),
        ("cgagent_container_forks_refused_total", {}, 1),
        ("container_pressure_cpu_waiting_seconds_total", {}, 1.5),
        ("container_pressure_cpu_stalled_seconds_total", {}, 1.5),
        ("container_pressure_memory_waiting_seconds_total", {}, 1.5),
        ("container_pressure_memory_stalled_seconds_total", {}, None),
        ("container_pressure_io_waiting_seconds_total", {}, None),
        ("container_oom_events_total", {}, 2),
        ("container_spec_cpu_shares", {}, 512),
        ("container_spec_cpu_period", {}, 100_000),
        ("container_spec_cpu_quota", {}, 50_000),
        ("container_spec_memory_limit_bytes", {}, 4096),
        ("container_spec_memory_swap_limit_bytes", {}, 0),
        ("container_spec_memory_reservation_limit_bytes", {}, 0),
        ("container_start_time_seconds", {}, 1000.5),
        ("container_last_seen", {}, 1234.5),
        ("cgagent_container_frozen", {}, 1),
        ("cgagent_container_state", {"state": "frozen"}, 1),
        ("cgagent_container_state", {"state": "running"}, 0),
        ("container_health_state", {}, 1),
        ("cgagent_container_spec_io_read_bps_limit", {"device": "/dev/sda"}, None),
        ("cgagent_container_spec_io_write_bps_limit", {"device": "/dev/sda"}, 1000),
        ("cgagent_container_spec_io_read_iops_limit", {"device": "/dev/sda"}, 20),
        ("cgagent_container_spec_io_write_iops_limit", {"device": "/dev/sda"}, None),
        ("cgagent_container_log_size_bytes", {}, 28),
        ("cgagent_container_limits_changed_timestamp_seconds", {}, 1100.5),
        ("container_creation_time_seconds", {}, 999.5),
        ("cgagent_container_health", {"health": "healthy"}, 1),
        ("cgagent_container_health", {"health": "starting"}, 0),
        ("cgagent_container_restarts_total", {}, 3),
    ],
)  # fmt: skip
def test_series_of_a_container(value, name, labels, expected):
    got = value(name, **LABELS, **labels)
    assert got == (None if expected is None else pytest.approx(expected))


def test_an_exited_container_keeps_what_was_counted_and_how_it_ended(metrics, value):
    old = {"id": "/cgagent/4567", "name": 'o"ld\n'}
    assert value("cgagent_container_state", **old, state="exited") == 1
    assert value("cgagent_container_exit_code", **old) == 137
    assert value("cgagent_container_oom_killed", **old, limiting_group="/cgagent") == 1
    assert value("container_oom_events_total", **old) == 2
    assert value("container_cpu_usage_seconds_total", **old, cpu="total") == 2.5
    assert value("container_memory_max_usage_bytes", **old) == 2000
    assert value("cgagent_container_started_seconds", **old) == 900.0
    assert value("cgagent_container_ended_seconds", **old) == 951.0
    assert value("container_memory_usage_bytes", **old) is None
    assert value("cgagent_container_frozen", **old) is None
    # or dashboards made for cAdvisor take it for one that runs
    assert value("container_last_seen", **old) is None
    assert value("container_start_time_seconds", **old) is None


def test_only_the_series_asked_for(metrics):
    names = frozenset({"container_threads", "container_oom_events_total", "machine_cpu_cores"})
    families = list(parse_text(metrics.render(Asked(names=names)).body.decode()))
    assert {s.name for family in families for s in family.samples} == names


def test_compressed_where_it_is_asked_for(metrics):
    rendered = metrics.render(Asked(gzip=True))
    assert rendered.headers["Content-Encoding"] == "gzip"
    assert b"container_threads{" in gzip.decompress(rendered.body)


@given(st.text(), st.text())
def test_any_label_is_escaped(name, image):
    target = Target("0123", name, image, "/cgagent/0123", 1.0)
    sample = Sample(target, 1.0, 0, 0, USAGE, LIMITS)
    text = Metrics(Samples([sample]), list).render().body.decode()
    (found,) = (f for f in parse_text(text) if f.name == "container_threads")
    (series,) = found.samples
    labels = {"id": "/cgagent/0123", "name": name, "image": image}
    assert series.labels == {key: value for key, value in labels.items() if value}


@given(st.text())
def test_labels_of_the_container_are_on_all_its_series(text):
    target = replace(WEB, labels=(("container_label_team", text), ("container_label_a_b", "1")))
    sample = Sample(target, 1.0, 0, 0, USAGE, LIMITS)
    standings = [Standing(target=target, state="running")]
    body = Metrics(Samples([sample]), lambda: standings).render().body.decode()
    series = [s for f in parse_text(body) for s in f.samples if "id" in s.labels]
    assert {"container_threads", "cgagent_container_state"} <= {s.name for s in series}
    for one in series:
        assert one.labels.get("container_label_team", "") == text
        assert one.labels["container_label_a_b"] == "1"


def test_new_labels_are_shown_at_once():
    samples = Samples([Sample(WEB, 1.0, 0, 0, USAGE, LIMITS)])
    metrics = Metrics(samples, list)
    assert b'name="web"' in metrics.render().body
    renamed = replace(WEB, name="shop")
    samples._live = [Sample(renamed, 2.0, 0, 0, USAGE, LIMITS)]
    body = metrics.render().body
    assert b'name="shop"' in body
    assert b'name="web"' not in body


def test_a_scrape_makes_only_the_text_of_what_has_changed():
    def sample(number, at_s=1.0, usage=USAGE):
        target = Target(f"{number}", f"g{number}", "", f"/g/{number}", 1.0)
        return Sample(target, at_s, 0, 0, usage, LIMITS)

    def scrape():
        began_s = time.thread_time()
        text = metrics.render().body.decode()
        return text, time.thread_time() - began_s

    samples = Samples([sample(n) for n in range(200)])
    metrics = Metrics(samples, list)
    _, first_s = scrape()
    later_s = []
    for current in (75, 76, 77):
        at_s, busy = float(current), replace(USAGE, pids=replace(USAGE.pids, current=current))
        samples._live = [sample(0, at_s, busy), *(sample(n, at_s) for n in range(1, 199))]
        text, taken_s = scrape()
        later_s.append(taken_s)
    assert 'container_threads{id="/g/0",name="g0"} 77\n' in text
    assert 'container_threads{id="/g/1",name="g1"} 5\n' in text
    assert 'container_last_seen{id="/g/1",name="g1"} 77.0\n' in text
    assert "/g/199" not in text
    assert min(later_s) < first_s / 2


def test_a_group_whose_name_is_no_text():
    target = replace(WEB, name=os.fsdecode(b"\xff"), cgroup_path="/" + os.fsdecode(b"\xff"))
    sample = Sample(target, 1.0, 0, 0, USAGE, LIMITS)
    body = Metrics(Samples([sample]), list).render().body.decode()
    (found,) = (f for f in parse_text(body) if f.name == "container_threads")
    assert found.samples[0].labels["name"] == "\\udcff"


@given(st.lists(st.binary(min_size=1, max_size=4) | st.text("\\ud8fc05\udcff"), unique=True))
@example([b"\\udcff", b"\xff", b"\xfe", b"\\u005cudcff", b"\\u005c\xff"])
def test_no_two_names_are_one_label(names):
    names = {os.fsdecode(name) for name in names}
    samples = [
        Sample(Target(str(n), name, "", "/x", 1.0), 1.0, 0, 0, USAGE, LIMITS)
        for n, name in enumerate(names)
    ]
    body = Metrics(Samples(samples), list).render(Asked(names=frozenset({"container_threads"})))
    series = [s for family in parse_text(body.body.decode()) for s in family.samples]
    assert len({s.labels.get("name", "") for s in series}) == len(names)


def test_the_agent_and_the_machine(value):
    assert value("cgagent_sampler_ticks_total") == 7
    assert value("cgagent_sampler_missed_ticks_total") == 2
    assert value("cgagent_sampler_samples_total") == 70
    assert value("cgagent_sampler_lag_seconds") == 0.25
    assert value("container_scrape_error") == 1
    assert value("cgagent_volume_size_bytes", volume="data") == 29
    assert value("cgagent_events_dropped_total") == 21
    assert value("cgagent_attached_clients_cut_off_total") == 3
    assert value("cgagent_job_duration_seconds_count", kind="start", outcome="done") == 1
    assert (
        value("cgagent_job_duration_seconds_bucket", kind="start", outcome="done", le="0.005") == 1
    )
    assert (
        value("cgagent_job_duration_seconds_bucket", kind="start", outcome="done", le="0.001") == 0
    )
    assert value("cgagent_job_duration_seconds_sum", kind="start", outcome="failed") == 0.2
    assert value("cgagent_job_step_duration_seconds_sum", kind="start", step="launch") == 0.002
    assert value("cgagent_job_step_duration_seconds_sum", kind="start", step="configure") == 0.001
    ids = host.machine_ids()
    assert set(ids) == {"boot_id", "machine_id", "system_uuid"}
    assert ids["boot_id"].count("-") == 4
    assert value("machine_cpu_cores", **ids) >= 1
    assert value("machine_memory_bytes", **ids) > 2**20
    assert 1 <= value("machine_cpu_physical_cores", **ids) <= value("machine_cpu_cores", **ids)
    assert value("machine_cpu_sockets", **ids) >= 1
    assert value("cgagent_host_cpu_seconds_total", mode="user") > 0
    assert value("cgagent_host_memory_available_bytes") > 0
    assert value("process_resident_memory_bytes") > 2**20
    assert value("process_open_fds") > 2


def test_every_help_says_unit_and_source(metrics):
    """In a bracket at the end; bytes, seconds and microseconds are told."""
    for family in parse_text(metrics.render().body.decode()):
        assert re.search(r"\([^()]+\)$", family.documentation), family.name
        for unit in ("bytes", "seconds"):
            if family.name.endswith((f"_{unit}", f"_{unit}_total")):
                assert unit in family.documentation.partition("(")[0], family.name


def test_figures_have_no_more_digits_than_the_kernels():
    usage = replace(USAGE, cpu=Cpu(usage_ns=7_273_290, user_ns=7_273_290, system_ns=0))
    text = Metrics(Samples([Sample(WEB, 1.0, 0, 0, usage, LIMITS)]), list).render().body.decode()
    assert re.search(r"container_cpu_user_seconds_total{.*} 0\.00727329\n", text)
    assert re.search(r"container_cpu_usage_seconds_total{.*} 0\.00727329\n", text)


def test_throttling_is_silent_without_a_quota():
    limits = Limits(cpu_quota_us=UNLIMITED, cpu_period_us=100_000)
    metrics = Metrics(Samples([Sample(WEB, 1.0, 0, 0, USAGE, limits)]), list)
    text = metrics.render().body.decode()
    assert "\ncontainer_cpu_cfs_" not in text
    assert "\ncontainer_spec_cpu_quota" not in text
    assert "\ncontainer_cpu_usage_seconds_total{" in text


def test_a_group_above_others_has_cadvisors_series_alone_and_no_name():
    above = Target("cgroup:/", "", "", "/", 0.0, is_above=True)
    text = (
        Metrics(Samples([Sample(above, 1.0, 0, 0, USAGE, Limits())]), list).render().body.decode()
    )
    series = [s for f in parse_text(text) for s in f.samples if "id" in s.labels]
    values = {s.name: s.value for s in series if s.labels == {"id": "/"}}
    assert values["container_memory_usage_bytes"] == 1000
    assert values["container_threads"] == 5
    # as cAdvisor has it of the machine
    assert values["container_spec_memory_limit_bytes"] > 2**20
    assert not [s.name for s in series if s.name.startswith("cgagent_") or s.labels["id"] != "/"]


def test_what_the_kernel_has_not_is_not_there():
    nothing = Usage(
        cpu=Cpu(), memory=Memory(), io=None, pids=Pids(), pressure=Pressure(), frozen=None
    )
    metrics = Metrics(Samples([Sample(WEB, 1.0, 0, 0, nothing, Limits())]), list)
    names = {
        line.split("{")[0]
        for line in metrics.render().body.decode().splitlines()
        if line.startswith(("container_", "cgagent_container_")) and "{" in line
    }
    assert names == {"container_start_time_seconds", "container_last_seen"}


def test_openmetrics_where_it_is_asked_for(metrics):
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    rendered = metrics.render(Asked(accept=accept))
    body, content_type = rendered.body, rendered.headers["Content-Type"]
    assert content_type.startswith("application/openmetrics-text")
    assert b"_created" not in body
    names = {family.name for family in parse_openmetrics(body.decode())}
    assert {"container_cpu_usage_seconds", "container_memory_failcnt"} <= names


@pytest.mark.parametrize(
    ("limits", "shown"),
    [
        (replace(LIMITS, memory_swappiness=60, memory_swap_max_bytes=1000), 5096),
        (replace(LIMITS, memory_swappiness=60), 0),
        (replace(LIMITS, memory_swap_max_bytes=1000), 1000),
        (Limits(memory_swappiness=60, memory_max_bytes=4096), None),
    ],
)
def test_the_swap_limit_is_what_the_kernels_file_says(limits, shown):
    metrics = Metrics(Samples([Sample(WEB, 1.0, 0, 0, USAGE, limits)]), list)
    body = metrics.render(Asked(names=frozenset({"container_spec_memory_swap_limit_bytes"}))).body
    values = [s.value for family in parse_text(body.decode()) for s in family.samples]
    assert values == ([] if shown is None else [shown])


def test_types_are_cadvisors(metrics):
    types = {family.name: family.type for family in parse_text(metrics.render().body.decode())}
    assert types["container_memory_failcnt"] == types["container_hugetlb_failcnt"] == "counter"
    assert types["container_fs_inodes_total"] == "gauge"


def test_text_otherwise(metrics):
    rendered = metrics.render(Asked(accept="*/*"))
    body, content_type = rendered.body, rendered.headers["Content-Type"]
    assert content_type.startswith("text/plain; version=0.0.4")
    assert body.endswith(b"\n")
    assert b"_created" not in body


def test_prometheus_own_linter_has_no_complaint(metrics):
    promtool = shutil.which("promtool")
    body = metrics.render().body
    if not promtool:
        assert len(list(parse_text(body.decode()))) > 50
        return
    assert complaints(promtool, body) == []


def test_two_agents_in_one_process_do_not_meet(metrics):
    other = Metrics(Samples([]), list)
    assert b"container_cpu" not in b"".join(
        line for line in other.render().body.splitlines() if not line.startswith(b"#")
    )
