"""Run one command in a throw-away machine with another cgroup layout.

``python -m tests.world.guest --mode v2 -- COMMAND`` boots a QEMU guest (pure emulation, no KVM)
whose root is this machine's, shared read-only over virtiofs under a scratch layer; so the
checkout, its venv and the test cache are simply there. Exit status: the command's, 124 when
time ran out, 125 when the guest itself failed. Everything made for a run ends with it.
"""

from __future__ import annotations

import argparse
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.world import cache, debian, kernel

if TYPE_CHECKING:
    from types import FrameType

    from tests.world.kernel import Kernel

PACKAGES = (
    "busybox-static",
    "cpio",
    "e2fsprogs",
    "kmod",
    "qemu-system-common",
    "qemu-system-x86",
    "xz-utils",
)
STATE_FOLDER = "/var/lib/cgagent-test"
SLOWNESS = "15"
STATE_BYTES = 2 << 30
SWAP_BYTES = 256 << 20
MEMORY = "3072M"
BOOT_ALLOWANCE_S = 60
_BEGIN_S = 180
_PATCHED = (b"Oops: int3", b"RIP: 0010:text_poke_early")
"""The first byte of an instruction is that of a breakpoint while the kernel patches the rest; the
other is where it patches before its CPUs have begun."""
TIMED_OUT = 124
GUEST_FAILED = 125

_SOURCES = Path(__file__).parent / "scripts"
_PROJECT = Path(__file__).parents[2]
_VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
_EARLY_MODULES = (
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "virtio_rng",
    "virtiofs",
    "overlay",
    "ext4",
)
# init_on_alloc: without it virtiofs under emulation may corrupt what it reads.
# clocksource: the emulated TSC is the host's and jumps when the host itself was paused.
# norandmaps: the emulator starts a Python three times as fast.
_KERNEL_PARAMETERS = (
    "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic nowatchdog "
    "rcupdate.rcu_cpu_stall_suppress=1 rcupdate.rcu_expedited=1 init_on_alloc=1 norandmaps "
    "mitigations=off nokaslr audit=0 tsc=reliable no_timer_check clocksource=acpi_pm psi=1"
)


@dataclass(frozen=True, slots=True)
class Job:
    """What to run in the guest, where, and for how long at most.

    `environment` is added to what tells the tests where they are.
    """

    command: tuple[str, ...]
    directory: Path = field(default_factory=Path.cwd)
    environment: dict[str, str] = field(default_factory=dict)
    timeout_s: int = 300

    def script(self) -> str:
        lines = [f"export {shlex.quote(f'{k}={v}')}" for k, v in self.environment.items()]
        lines.append(f"cd {shlex.quote(str(self.directory))} || exit {GUEST_FAILED}")
        lines.append(f"exec {shlex.join(self.command)}")
        return "\n".join(lines) + "\n"

    def kept_folders(self) -> list[Path]:
        """Folders under the host's /tmp that must not remove_ended behind the guest's own /tmp."""
        kept: list[Path] = []
        for folder in sorted({self.directory.resolve(), *_needed_folders()}):
            if folder.is_relative_to("/tmp") and not any(map(folder.is_relative_to, kept)):
                kept.append(folder)
        return kept


def _needed_folders() -> set[Path]:
    """What of the host a Python program of this checkout reads, besides the system itself."""
    return {path.resolve() for path in (_PROJECT, cache.root(), Path(sys.base_prefix))}


def prepare(mode: str) -> Kernel:
    """Fetch what a guest of this mode needs; quick when it is there."""
    debian.install(*PACKAGES)
    return kernel.prepare(mode)


def run(mode: str, job: Job) -> int:
    """Boot, run the job with its output on our standard output, and return its status.

    Emulated CPUs that are threads of their own now and then trip over an instruction that another
    one is patching; a guest that ends so at its begin is booted once more.
    """
    began = time.monotonic()
    status, is_emulators_fault = _run(mode, job)
    if is_emulators_fault and time.monotonic() - began < _BEGIN_S:
        print("guest: the emulator tripped over a patched instruction; once more", file=sys.stderr)
        status, _ = _run(mode, job)
    return status


def run_module(mode: str, name: str, *words: object) -> int:
    """`run` a module of this checkout, with an hour's time."""
    command = (sys.executable, "-m", name, *map(str, words))
    return run(mode, Job(command=command, timeout_s=3600))


def _run(mode: str, job: Job) -> tuple[int, bool]:
    """The status, and whether the kernel ended by an instruction that it has not."""
    image = prepare(mode)
    job = replace(job, environment=_environment(mode) | job.environment)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cgagent-guest-")))
        initrd = _initrd(folder, image, job)
        _disk(folder / "state", STATE_BYTES, "mkfs.ext4", "-q", "-E", "lazy_itable_init=1")
        _disk(folder / "swap", SWAP_BYTES, "mkswap")
        _share_root(folder, stack)
        parameters = [
            _KERNEL_PARAMETERS,
            *(["cgroup_no_v1=all"] if kernel.layout(mode) == "v2" else []),
            f"world_mode={kernel.layout(mode)}",
            f"world_timeout={job.timeout_s}",
            f"world_state={STATE_FOLDER}",
            f"world_modules={image.modules}",
        ]
        arguments = _machine(folder, image.image, initrd, " ".join(parameters))
        finished = _boot(arguments, folder, stack, job.timeout_s + BOOT_ALLOWANCE_S)
        status = _verdict(folder, finished=finished)
        console = (folder / "console").read_bytes()
        return status, status == GUEST_FAILED and any(words in console for words in _PATCHED)


def _initrd(folder: Path, image: Kernel, job: Job) -> Path:
    """The first root: busybox, the scripts, the modules to reach the shared root, the job."""
    tree = folder / "initrd.d"
    (tree / "bin").mkdir(parents=True)
    (tree / "modules").mkdir()
    shutil.copy("/bin/busybox", tree / "bin" / "busybox")
    shutil.copy(_SOURCES / "init.sh", tree / "init")
    (tree / "init").chmod(0o755)
    shutil.copy(_SOURCES / "main.sh", tree)
    (tree / "job.sh").write_text(job.script())
    (tree / "keep").write_text("".join(f"{folder}\n" for folder in job.kept_folders()))
    modules = image.module_files(*_EARLY_MODULES)
    for module in modules:
        shutil.copy(module, tree / "modules")
    (tree / "modules" / "list").write_text("".join(f"{m.name}\n" for m in modules))
    names = "\n".join(str(p.relative_to(tree)) for p in sorted(tree.rglob("*")))
    archive = folder / "initrd"  # not compressed: that is quicker than unpacking in the guest
    with archive.open("wb") as out:
        command = ["cpio", "-o", "-H", "newc", "--quiet"]
        subprocess.run(command, check=True, cwd=tree, input=names.encode(), stdout=out)
    return archive


def _disk(path: Path, size_bytes: int, *make_file_system: str) -> None:
    with path.open("wb") as sparse:
        sparse.truncate(size_bytes)
    subprocess.run([*make_file_system, path], check=True, capture_output=True)


def _share_root(folder: Path, stack: ExitStack) -> None:
    """Start virtiofsd on a read-only view of / in a mount namespace of its own."""
    (folder / "root").mkdir()
    binds = ["mount --bind / root", "mount -o remount,bind,ro root"]
    binds.append("mount -t tmpfs run /run")  # it locks a file there, named after the socket
    for path in _needed_folders():
        if path.stat().st_dev != Path("/").stat().st_dev:  # a file system of its own
            quoted = shlex.quote(str(path))
            binds += [f"mount --bind {quoted} root{quoted}"]
    daemon = f"exec {_VIRTIOFSD} --socket-path=fs.sock -f -o source={folder}/root -o cache=always"
    log = stack.enter_context((folder / "virtiofsd.log").open("wb"))
    script = " && ".join([*binds, daemon])
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    process = subprocess.Popen(_bound(command), cwd=folder, stdout=log, stderr=log)
    stack.callback(_end, process)
    deadline = time.monotonic() + 10
    while not (folder / "fs.sock").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"virtiofsd: {(folder / 'virtiofsd.log').read_text()}")
        time.sleep(0.02)


def _machine(folder: Path, image: Path, initrd: Path, parameters: str) -> list[str]:
    # Emulation even where /dev/kvm exists: it is not to be relied on inside other machines.
    return [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "Nehalem,+rdrand"),
        *("-machine", "q35,memory-backend=mem", "-smp", "2", "-m", MEMORY),
        *("-object", f"memory-backend-memfd,id=mem,size={MEMORY},share=on"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", str(image), "-initrd", str(initrd), "-append", parameters),
        *("-chardev", f"file,id=console,path={folder}/console", "-serial", "chardev:console"),
        *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-chardev", f"file,id=status,path={folder}/status"),
        *("-device", "virtserialport,chardev=status,name=status"),
        *("-chardev", "file,id=output,path=/dev/fd/OUTPUT"),
        *("-device", "virtserialport,chardev=output,name=output"),
        *("-chardev", f"socket,id=fs,path={folder}/fs.sock"),
        *("-device", "vhost-user-fs-pci,chardev=fs,tag=rootfs,queue-size=1024"),
        # The disks die with the run, so nothing needs to reach the host's disk.
        *("-drive", f"if=none,id=state,file={folder}/state,format=raw,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=state,addr=0x10"),
        *("-drive", f"if=none,id=swap,file={folder}/swap,format=raw,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=swap,addr=0x11"),
    ]


def _boot(arguments: list[str], folder: Path, stack: ExitStack, limit_s: float) -> bool:
    """Run QEMU, copying the job's output as it comes. Whether it ended within the limit."""
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    arguments = [a.replace("OUTPUT", str(writer)) for a in arguments]
    log = stack.enter_context((folder / "qemu.log").open("wb"))
    process = subprocess.Popen(
        _bound(arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(writer,)
    )
    os.close(writer)
    stack.callback(_end, process)
    deadline = time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                chunk = os.read(reader, 1 << 16)
                if not chunk:  # QEMU has gone
                    process.wait()
                    return True
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
    return False


def _verdict(folder: Path, *, finished: bool) -> int:
    status = (folder / "status").read_text().strip() if (folder / "status").exists() else ""
    if status.isdigit() and int(status) not in (TIMED_OUT, 128 + signal.SIGKILL):
        return int(status)
    # A panic makes QEMU exit with 0: only a status that was sent counts.
    for name in ("console", "qemu.log"):
        if (folder / name).exists():
            tail = (folder / name).read_text(errors="replace").splitlines()[-60:]
            print(*tail, sep="\n", file=sys.stderr)
    if status.isdigit():
        return int(status)
    print("guest: ended without a status" if finished else "guest: time is up", file=sys.stderr)
    return GUEST_FAILED if finished else TIMED_OUT


def _bound(command: list[str]) -> list[str]:
    """The command, ended by the kernel should this process be killed outright."""
    return ["setpriv", "--pdeathsig", "TERM", *command]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(mode: str) -> dict[str, str]:
    return {
        "CGAGENT_TEST_MODE": mode,
        "CGAGENT_TEST_SLOWNESS": SLOWNESS,
        "CGAGENT_TEST_CACHE": str(cache.root()),
    }


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.world.guest", description=__doc__)
    parser.add_argument("--mode", choices=kernel.MODES, default="v2")
    parser.add_argument("--timeout", type=int, default=300, metavar="SECONDS")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("command", nargs="+", metavar="-- COMMAND")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    job = Job(
        command=tuple(options.command),
        environment=dict(pair.partition("=")[::2] for pair in options.env),
        timeout_s=options.timeout,
    )
    with suppress(KeyboardInterrupt):
        return run(options.mode, job)
    return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
