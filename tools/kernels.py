"""Debian's kernels under qemu: doctor and self-test of all profiles, with Debian's bpftrace.

The kernel package is unpacked, never installed. One image of a suite's root serves as a read-only
disk; the guest lays a tmpfs over it, runs tools/guest.sh and tars the results onto a second disk.
One virtual CPU: with two, emulated kernels do not survive switching tracepoints on and off.
"""

import json
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import compatibility
import roots
from matrix import CAPTURES

# kernel of -> bpftrace and Python of (bullseye's own Python is too old for the tool)
PAIRS = {"bullseye": "bookworm", "bookworm": "bookworm", "trixie": "trixie", "sid": "sid"}
GUEST = Path(__file__).with_name("guest.sh")
MODULES = ("virtio_pci", "virtio_blk", "ext4", "overlay")
BOOTS = 2  # an emulated boot may go wrong; a second one is tried, and said
TIMEOUT_S = 1150
MEMORY_MIB = 2048
INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/sbin:/usr/bin:/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts; mount -t devpts devpts /dev/pts
for module in $(cat /modules/order); do insmod /modules/$module; done
mkdir -p /lower /upper
mount -t ext4 -o ro /dev/vda /lower && mount -t tmpfs -o size=90% tmpfs /upper
mkdir -p /upper/data /upper/work /root
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root
for folder in proc sys dev; do mount --rbind /$folder /root/$folder; done
ln -sf /proc/self/fd /root/dev/fd
mkdir -p /root/job /root/out /root/tmp; cp -a /job/. /root/job/
mount -t tmpfs tmpfs /root/tmp
chroot /root sh /job/guest.sh >/root/out/guest.log 2>/dev/console
echo $? > /root/out/rc
tar -C /root/out -cf /dev/vdb .
sync; poweroff -f
"""


def suite(name: str, capture: bool) -> compatibility.Outcome:
    """Boots one kernel; whether what came back is as it should be."""
    with tempfile.TemporaryDirectory(prefix="mmaplock-bt-kernels-") as folder:
        work = Path(folder)
        job = job_of(PAIRS[name], work, GUEST, _captures() if capture else "")
        results = booted(prepared(name, PAIRS[name], work, job), work)
        told = json.loads((results / "doctor.json").read_text())
        checks = {check["name"]: check for check in told["checks"]}
        number, kernel = checks["version"]["found"], (results / "kernel").read_text().strip()
        print(f"== {name}: bpftrace {number} ({PAIRS[name]}) on Linux {kernel}", flush=True)
        shown = f"{PAIRS[name]}, emulated"
        if not told["can_trace"]:
            said = (results / "run.err").read_text()
            return compatibility.refusal(_code(results, "run"), said, number, shown, kernel)
        return _captured(results) if capture else _judged(results, checks, shown, kernel)


def _judged(
    results: Path, checks: dict[str, compatibility.Check], shown: str, kernel: str
) -> compatibility.Outcome:
    code = _code(results, "selftest")
    if code not in (0, 1):
        raise compatibility.BrokenError((results / "selftest.err").read_text()[-2000:])
    faults = list(compatibility.doctor_faults(checks, kernel))
    print(*faults, sep="\n", end="\n" if faults else "")
    told = json.loads((results / "selftest.json").read_text())
    row = compatibility.from_selftest(told, shown, kernel, None)
    return compatibility.Outcome(row, code == 0 and not faults)


def _captured(results: Path) -> compatibility.Outcome:
    if _code(results, "captures"):
        raise compatibility.BrokenError((results / "captures.err").read_text()[-2000:])
    for raw in results.glob("*.ndjson"):
        shutil.copy(raw, compatibility.DATA)
    return compatibility.Outcome(None, True)


def _code(results: Path, step: str) -> int:
    return int((results / f"{step}.rc").read_text())


def booted(command: list[str], work: Path) -> Path:
    """What the guest brought back, at the second attempt if need be."""
    for attempt in range(1, BOOTS + 1):
        try:
            return _boot(command, work)
        except (subprocess.SubprocessError, tarfile.TarError) as error:
            console = (work / "console").read_text(errors="replace")[-3000:]
            said = f"boot {attempt} of {BOOTS} brought nothing back ({type(error).__name__})"
            print(f"{said}; its console ends:\n{console}", flush=True)
    raise compatibility.BrokenError("the emulated kernel did not do its job")


def _boot(command: list[str], work: Path) -> Path:
    results = work / "results"
    with (work / "results.disk").open("wb") as empty:
        empty.truncate(64 << 20)
    subprocess.run(command, check=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    with tarfile.open(work / "results.disk") as archive:
        archive.extractall(results, filter="data")
    if not (results / "rc").exists():  # an untouched disk is an empty archive
        raise tarfile.ReadError("no results")
    return results


def prepared(name: str, root_suite: str, work: Path, job: Path) -> list[str]:
    """The qemu command, all that it needs made. `job`: a folder for the guest, see `job_of`."""
    image = _image(root_suite)
    kernel, initramfs = _kernel_files(name, work)
    with initramfs.open("ab") as archive:
        archive.write(_cpio(job))
    return [
        "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off",
        "-smp", "1", "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none",
        "-no-reboot", "-serial", f"file:{work / 'console'}", "-kernel", str(kernel),
        "-initrd", str(initramfs),
        "-drive", f"file={image},format=raw,if=virtio,readonly=on",
        "-drive", f"file={work / 'results.disk'},format=raw,if=virtio",
        "-append", "console=ttyS0 rdinit=/init panic=-1 mitigations=off no_timer_check "
        "tsc=reliable random.trust_cpu=on quiet",
    ]  # fmt: skip


def _image(suite: str) -> Path:
    root = roots.root(suite)
    image = roots.CACHE / "roots" / f"{root.name}.ext4"
    if not image.exists():
        blocks = subprocess.run(["du", "-sm", root], check=True, capture_output=True, text=True)
        size = int(blocks.stdout.split()[0]) * 5 // 4 + 64
        part = image.with_suffix(f".{os.getpid()}")
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, part, f"{size}M"], check=True)
        part.rename(image)
    return image


def _kernel_files(suite: str, work: Path) -> tuple[Path, Path]:
    """The kernel and an initramfs with the modules for the two disks."""
    tree = roots.kernel(suite)
    kernel, release = kernel_in(tree)
    start = work / "initramfs"
    for folder in ("bin", "modules", "proc", "sys", "dev"):
        (start / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", start / "bin/busybox")
    (start / "init").write_text(INIT)
    (start / "init").chmod(0o755)
    order = []
    for module in _with_dependencies(tree, release):
        order.append(module.name.split(".ko")[0] + ".ko")
        (start / "modules" / order[-1]).write_bytes(_plain(module))
    (start / "modules/order").write_text("\n".join(order))
    packed = work / "initramfs.cpio"
    packed.write_bytes(_cpio(start))
    return kernel, packed


def kernel_in(tree: Path) -> tuple[Path, str]:
    """The kernel and its release. Debian's packages from 7.x on fill /boot on installation only."""
    for kernel in tree.glob("boot/vmlinuz-*"):
        return kernel, kernel.name.removeprefix("vmlinuz-")
    for kernel in tree.glob("usr/lib/modules/*/vmlinuz"):
        return kernel, kernel.parent.name
    raise compatibility.BrokenError(f"no kernel in {tree}")


def _with_dependencies(tree: Path, release: str) -> list[Path]:
    if not (tree / "lib").exists():
        (tree / "lib").symlink_to("usr/lib")
    subprocess.run(["depmod", "-b", tree, release], check=True)
    found: list[Path] = []
    for name in MODULES:
        shown = subprocess.run(
            ["modprobe", "-d", tree, "-S", release, "--show-depends", name],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        found += [Path(path) for path in re.findall(r"^insmod (\S+)", shown.stdout, re.MULTILINE)]
    return list(dict.fromkeys(found))


def _plain(module: Path) -> bytes:
    if module.suffix == ".xz":
        return lzma.decompress(module.read_bytes())
    if module.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", module], check=True, capture_output=True).stdout
    return module.read_bytes()


def job_of(root_suite: str, work: Path, guest: Path, captures: str = "") -> Path:
    """The guest's script and the wheel with its dependencies, built for the guest's Python."""
    start = work / "job"
    site = start / "job/site"
    site.mkdir(parents=True)
    shutil.copy(guest, start / "job/guest.sh")
    (start / "job/captures").write_text(captures)
    (python,) = (roots.root(root_suite) / "usr/bin").glob("python3.??")
    _pip("wheel", "--no-deps", "-w", str(work), str(compatibility.REPOSITORY))
    (wheel,) = work.glob("mmaplock_bt-*.whl")
    number = python.name.removeprefix("python")
    _pip("install", "--target", str(site), "--only-binary=:all:", "--python-version", number,
         str(wheel))  # fmt: skip
    return start


def _pip(*words: str) -> None:
    argv = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", *words]
    subprocess.run(argv, check=True, timeout=TIMEOUT_S)


def _captures() -> str:
    """A line for each: capture NAME WORKLOAD PROFILE [SETTING...]"""
    return "".join(
        shlex.join(["capture", name, " ".join(workload), profile, *settings]) + "\n"
        for name, (profile, settings, workload) in CAPTURES.items()
    )


def _cpio(folder: Path) -> bytes:
    """A cpio archive of the folder, padded so that another can follow."""
    listed = subprocess.run(["find", "."], cwd=folder, check=True, capture_output=True).stdout
    packed = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=folder, input=listed, check=True,
        capture_output=True,
    ).stdout  # fmt: skip
    return packed + bytes(-len(packed) % 512)


if __name__ == "__main__":
    sys.exit(compatibility.main(__doc__ or "", tuple(PAIRS), suite))
