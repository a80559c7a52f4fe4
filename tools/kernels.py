"""Debian's kernels under qemu: doctor and self-test of all profiles, with Debian's bpftrace and by
tracefs alone.

The kernel package is unpacked, never installed. One image of a suite's root serves as a read-only
disk; the guest lays a tmpfs over it, runs tools/guest.sh and tars the results onto a second disk.
tools/guests.py says which there are.
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
from guests import GUESTS, KERNEL_LINE, SAME, Guest
from matrix import CAPTURES

GUEST = Path(__file__).with_name("guest.sh")
MODULES = ("virtio_pci", "virtio_blk", "ext4", "overlay")
Place = tuple[str, str, str]  # bpftrace, kernel, how the table calls it
BOOTS = 2  # an emulated boot may go wrong; a second one is tried, and said
TIMEOUT_S = 1300
SLOW_TIMEOUT_S = 2400  # another processor's instructions take twice as long; so may tests
MEMORY_MIB = 3072  # tests run four bpftraces at once
INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/sbin:/usr/bin:/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts; mount -t devpts devpts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup; echo +memory > /sys/fs/cgroup/cgroup.subtree_control
for module in $(cat /modules/order); do insmod /modules/$module; done
mkdir -p /lower /upper
mount -t ext4 -o ro /dev/vda /lower && mount -t tmpfs -o size=90% tmpfs /upper
mkdir -p /upper/data /upper/work /root
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root
for folder in proc sys dev; do mount --rbind /$folder /root/$folder; done
ln -sf /proc/self/fd /root/dev/fd
mkdir -p /root/job /root/out /root/tmp; cp -a /job/. /root/job/
mount -t tmpfs tmpfs /root/tmp
[ -x /root/job/init ] && exec switch_root /root /job/init
chroot /root sh /job/guest.sh >/root/out/guest.log 2>/dev/console
echo $? > /root/out/rc
tar -C /root/out -cf /dev/vdb .
sync; poweroff -f
"""


def suite(name: str, capture: bool) -> compatibility.Outcome:
    """Boots one kernel; whether what came back is as it should be."""
    with tempfile.TemporaryDirectory(prefix="mmaplock-bt-kernels-") as folder:
        work = Path(folder)
        guest = GUESTS[name]
        job = job_of(guest, work, GUEST, _captures() if capture else "")
        if guest.tests:
            _add_tests(guest, job / "job")
        is_slow = guest.architecture != "amd64" or guest.tests
        limit_s = SLOW_TIMEOUT_S if is_slow else TIMEOUT_S
        results = booted(prepared(guest, work, job), work, limit_s)
        return _outcome(results, guest, capture)


def _outcome(results: Path, guest: Guest, capture: bool) -> compatibility.Outcome:
    told = json.loads((results / "doctor.json").read_text())
    checks = {check["name"]: check for check in told["checks"]}
    number = checks["version"]["found"] if "version" in checks else compatibility.NONE
    place = number, (results / "kernel").read_text().strip(), guest.shown
    print(f"== {guest.shown}: bpftrace {number} on Linux {place[1]}", flush=True)
    if not told["can_trace"]:
        return _refused(results, place)
    if guest.tests:
        return _tested(results, place)
    return _captured(results) if capture else _judged(results, checks, place)


def _refused(results: Path, place: Place) -> compatibility.Outcome:
    """A clear refusal is right; where the kernel has the events tracefs does all the same."""
    said, is_clear = compatibility.refused(_code(results, "run"), _text(results, "run.err"))
    tracefs = _selftest(results, "tracefs")
    row = compatibility.row_of(*place, refusal=said, tracefs=tracefs)
    return compatibility.Outcome(row, is_clear and (not tracefs or compatibility.is_right(tracefs)))


def _judged(
    results: Path, checks: dict[str, compatibility.Check], place: Place
) -> compatibility.Outcome:
    profiles, tracefs = (_selftest(results, step) for step in ("selftest", "tracefs"))
    faults = list(compatibility.doctor_faults(checks, place[1]))
    print(*faults, sep="\n", end="\n" if faults else "")
    right = all(profiles.values()) and compatibility.is_right(tracefs)
    row = compatibility.row_of(*place, profiles=profiles, tracefs=tracefs)
    return compatibility.Outcome(row, bool(profiles) and right and not faults)


def _selftest(results: Path, step: str) -> compatibility.Profiles:
    said = (_text(results, f"{step}.{suffix}") for suffix in ("json", "err"))
    return compatibility.passed(_code(results, step), *said)


def _tested(results: Path, place: Place) -> compatibility.Outcome:
    said = _text(results, "tests.out")
    passed = re.search(r"(\d+) passed", said)
    right = _code(results, "tests") == 0 and passed is not None and "skipped" not in said
    print(said if not right else said.splitlines()[-1], flush=True)
    known = f"{passed[1]} pass" if right and passed else "**fail**"
    return compatibility.Outcome(compatibility.row_of(*place, known_answers=known), right)


def _captured(results: Path) -> compatibility.Outcome:
    if _code(results, "captures"):
        raise compatibility.BrokenError(_text(results, "captures.err")[-2000:])
    for raw in results.glob("*.ndjson"):
        shutil.copy(raw, compatibility.DATA)
    return compatibility.Outcome(None, True)


def _code(results: Path, step: str) -> int:
    return int(_text(results, f"{step}.rc"))


def _text(results: Path, name: str) -> str:
    return (results / name).read_text()


def booted(command: list[str], work: Path, limit_s: float = TIMEOUT_S) -> Path:
    """What the guest brought back, at the second attempt if need be."""
    for attempt in range(1, BOOTS + 1):
        try:
            return _boot(command, work, limit_s)
        except (subprocess.SubprocessError, tarfile.TarError) as error:
            console = (work / "console").read_text(errors="replace")[-3000:]
            said = f"boot {attempt} of {BOOTS} brought nothing back ({type(error).__name__})"
            print(f"{said}; its console ends:\n{console}", flush=True)
    raise compatibility.BrokenError("the emulated kernel did not do its job")


def _boot(command: list[str], work: Path, limit_s: float) -> Path:
    results = work / "results"
    with (work / "results.disk").open("wb") as empty:
        empty.truncate(64 << 20)
    subprocess.run(command, check=True, timeout=limit_s, stdin=subprocess.DEVNULL)
    with tarfile.open(work / "results.disk") as archive:
        archive.extractall(results, filter="data")
    if not (results / "rc").exists():  # an untouched disk is an empty archive
        raise tarfile.ReadError("no results")
    return results


def prepared(guest: Guest, work: Path, job: Path, disk: Path | None = None) -> list[str]:
    """The qemu command, all that it needs made.

    `job`: a folder for the guest, see `job_of`; `disk`: an image in place of its root's. Where the
    job has a program `init`, that is the first process.
    """
    disk = disk or _kept_image(guest.root())
    kernel, initramfs = _kernel_files(guest, work)
    with initramfs.open("ab") as archive:
        archive.write(_cpio(job))
    return [
        *guest.machine.qemu, *SAME, "-accel", "tcg,thread=multi", "-m", str(MEMORY_MIB),
        "-serial", f"file:{work / 'console'}", "-kernel", str(kernel), "-initrd", str(initramfs),
        "-drive", f"file={disk},format=raw,if=virtio,readonly=on",
        "-drive", f"file={work / 'results.disk'},format=raw,if=virtio",
        "-append", f"{guest.machine.kernel_line} {KERNEL_LINE}",
    ]  # fmt: skip


def _kept_image(root: Path) -> Path:
    kept = roots.CACHE / "roots" / f"{root.name}.ext4"
    return kept if kept.exists() else image(root, kept)


def image(root: Path, made: Path) -> Path:
    """Makes a root a file system in a file."""
    blocks = subprocess.run(["du", "-sm", root], check=True, capture_output=True, text=True)
    size = int(blocks.stdout.split()[0]) * 5 // 4 + 64
    part = made.with_suffix(f".{os.getpid()}")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, part, f"{size}M"], check=True)
    part.rename(made)
    return made


def _kernel_files(guest: Guest, work: Path) -> tuple[Path, Path]:
    """The kernel and an initramfs with the modules for the two disks."""
    tree = guest.kernel()
    kernel, release = kernel_in(tree)
    start = work / "initramfs"
    for folder in ("bin", "modules", "proc", "sys", "dev"):
        (start / folder).mkdir(parents=True)
    shutil.copy(guest.busybox(), start / "bin/busybox")
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


def job_of(guest: Guest, work: Path, script: Path, captures: str = "") -> Path:
    """The guest's script and the wheel with its dependencies, built for the guest's Python."""
    start = work / "job"
    site = start / "job/site"
    site.mkdir(parents=True)
    shutil.copy(script, start / "job/guest.sh")
    (start / "job/captures").write_text(captures)
    _pip("wheel", "--no-deps", "-w", str(work), str(compatibility.REPOSITORY))
    (wheel,) = work.glob("mmaplock_bt-*.whl")
    _install(guest, site, str(wheel))
    return start


def _add_tests(guest: Guest, job: Path) -> None:
    """The tests with what they need, and pytest's words."""
    (job / "tests.words").write_text(shlex.join(guest.tests))
    shutil.copytree(compatibility.REPOSITORY / "tests", job / "site/tests")
    shutil.copy(compatibility.REPOSITORY / "pyproject.toml", job / "site")
    _install(guest, job / "site", "pytest", "hypothesis")


def _install(guest: Guest, site: Path, *packages: str) -> None:
    """Of packages what is built for the guest's Python."""
    (python,) = (guest.root() / "usr/bin").glob("python3.??")
    number = python.name.removeprefix("python")
    _pip("install", "--target", str(site), "--only-binary=:all:", "--python-version", number,
         *_platforms(guest), *packages)  # fmt: skip


def _platforms(guest: Guest) -> list[str]:
    """What wheels may be for where it is not this machine's. No libc is older than bookworm's."""
    if guest.architecture == "amd64":
        return []
    names = (f"manylinux_2_{minor}" for minor in range(17, 37))
    return [f"--platform={name}_{guest.machine.platform}" for name in ("manylinux2014", *names)]


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
    sys.exit(compatibility.main(__doc__ or "", tuple(GUESTS), suite))
