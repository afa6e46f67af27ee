"""Counting what is in a directory that its owner changes meanwhile."""

import os
import resource
import socket
import subprocess
from dataclasses import replace

import psutil

from cgagent.images.unpack.trees import remove_tree
from cgagent.metrics import Disk, disks
from cgagent.metrics import walker as walking
from cgagent.metrics.walker import ToCount, Walker, look


def held(path, *pids):
    return ToCount("0123", str(path), lambda: pids)


def test_files_directories_and_descriptors(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "b").write_bytes(b"y" * 50_000)
    os.link(tmp_path / "a", tmp_path / "deep" / "other name")
    (tmp_path / "outside").symlink_to("/usr")
    found = look(held(tmp_path, os.getpid()))
    assert 150_000 <= found.used_bytes < 250_000
    assert found.used_inodes == 5  # a, deep, er, b, outside
    assert found.file_descriptors == len(os.listdir("/proc/self/fd"))
    assert found.limit_bytes == os.statvfs(tmp_path).f_frsize * os.statvfs(tmp_path).f_blocks


def test_sockets_and_the_limit_on_descriptors(tmp_path):
    before = look(held(tmp_path, os.getpid())).sockets
    with socket.socket(), socket.socket():
        found = look(replace(held(tmp_path, os.getpid()), first=os.getpid()))
    assert found.sockets == before + 2
    assert found.soft_open_files == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert look(replace(held(tmp_path, 2**22 - 1), first=2**22 - 1)).soft_open_files is None


def test_holes_take_no_space(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 30)
    assert look(held(tmp_path)).used_bytes < 1 << 20


def test_a_tree_deeper_than_any_path_is_counted(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    assert look(held(tmp_path)).used_inodes == 2500
    remove_tree(os.fsencode(tmp_path / "d"))  # pytest cannot


def test_what_is_not_there_is_not_counted(tmp_path):
    assert look(held(tmp_path / "missing", 2**22 - 1)).used_bytes is None


def test_a_container_that_is_gone_is_forgotten(tmp_path):
    there = [held(tmp_path)]
    walker = Walker(lambda: there)
    walker.walk()
    assert walker.get("0123").used_inodes == 0
    there.clear()
    walker.walk()
    assert walker.get("0123") is None


def test_what_has_not_run_is_not_walked_again_for_a_while(tmp_path, monkeypatch):
    """Its own processes cannot have changed anything; the room around it others can."""
    monkeypatch.setattr(walking, "INTERVAL_S", 0.0)
    running = replace(held(tmp_path), cpu_ns=5)
    walker = Walker(lambda: [running])
    walker.walk()
    (tmp_path / "by somebody else").touch()
    walker.walk()
    assert walker.get("0123").used_inodes == 0
    assert walker.get("0123").limit_bytes == look(running).limit_bytes
    running = replace(running, cpu_ns=6)
    walker.walk()
    assert walker.get("0123").used_inodes == 1
    monkeypatch.setattr(walking, "_IDLE_S", 0.0)
    (tmp_path / "more").touch()
    walker.walk()
    assert walker.get("0123").used_inodes == 2


def test_what_tasks_do(tmp_path):
    stopped = ["sh", "-c", "kill -STOP $$"]
    with subprocess.Popen(["sleep", "1000"]) as one, subprocess.Popen(stopped) as two:
        os.waitid(os.P_PID, two.pid, os.WSTOPPED | os.WNOWAIT)
        while psutil.Process(one.pid).status() != psutil.STATUS_SLEEPING:  # it has just begun
            continue
        tasks = look(held(tmp_path, one.pid, two.pid, 2**22 - 1)).tasks
        one.kill()
        two.kill()
    assert tasks == {"sleeping": 1, "stopped": 1, "running": 0, "uninterruptible": 0, "zombie": 0}


def test_the_disk_below(tmp_path):
    folder = tmp_path / "8:1"
    folder.mkdir()
    (folder / "stat").write_text(" 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n")
    (tmp_path / "254:0").symlink_to("8:1")
    disk = Disk("/dev/8:1", 2, 4, 6, 8, in_flight=9, busy_ms=10, weighted_ms=11)
    assert disks.read("254:0", str(tmp_path)) == disk
    assert disks.read("7:7", str(tmp_path)) is None
    assert disks.below("/proc") is None
    assert disks.below("/nowhere") is None
