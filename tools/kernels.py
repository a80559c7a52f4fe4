"""Debian's kernels under qemu: doctor, self-test and shipped profiles, with Debian's bpftrace.

python tools/kernels.py [KERNEL-SUITE...]

The kernel package is unpacked, never installed. One image of a suite's root serves as a read-only
disk; the guest lays a tmpfs over it, runs tools/guest.sh and tars the results onto a second disk.
One virtual CPU: with two, emulated kernels do not survive switching tracepoints on and off.
"""

import argparse
import json
import lzma
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import compatibility
import roots

# kernel of -> bpftrace and Python of (bullseye's own Python is too old for the tool)
PAIRS = {"bullseye": "bookworm", "bookworm": "bookworm", "trixie": "trixie", "sid": "sid"}
MODULES = ("virtio_pci", "virtio_blk", "ext4", "overlay")
TIMEOUT_S = 1500
MEMORY_MIB = 2048
INIT = """\
#!/bin/sh
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
chroot /root sh /job/guest.sh >/root/out/guest.log 2>&1
echo $? > /root/out/rc
tar -C /root/out -cf /dev/vdb .
sync; poweroff -f
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("suites", nargs="*", default=list(PAIRS))
    suites = parser.parse_args().suites
    failed = [suite for suite in suites if not _kernel(suite)]
    compatibility.main()
    print(f"{len(suites) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _kernel(suite: str) -> bool:
    """Boots one kernel; whether what came back is as it should be."""
    with tempfile.TemporaryDirectory(prefix="mmaplock-bt-kernels-") as folder:
        work = Path(folder)
        results = _boot(suite, PAIRS[suite], work)
        version = (results / "kernel").read_text().strip()
        doctor = json.loads((results / "doctor.json").read_text())
        told = {check["name"]: check for check in doctor["checks"]}
        number = told["version"]["found"]
        print(f"== Linux {version}, bpftrace {number} ({PAIRS[suite]})", flush=True)
        return _judged(results, doctor["can_trace"], number, f"{PAIRS[suite]}, qemu", version)


def _judged(results: Path, can_trace: bool, number: str, suite: str, version: str) -> bool:
    if not can_trace:
        sentence = (results / "run.err").read_text().strip().removeprefix("mmaplock-bt: ")
        code = int((results / "run.rc").read_text())
        print(f"exit {code}: {sentence}")
        compatibility.note(compatibility.refused(number, suite, version, sentence))
        return code == 3 and "Traceback" not in sentence
    if int((results / "selftest.rc").read_text()) not in (0, 1):
        print(f"self-test: {(results / 'selftest.err').read_text()[-2000:]}")
        return False
    told = json.loads((results / "selftest.json").read_text())
    compatibility.note(compatibility.from_selftest(told, suite, version, "self-test"))
    for case in told["cases"]:
        print(f"{'pass' if case['pass'] else 'FAIL'}  {case['profile']:<18} {case['found']}")
        if not case["pass"]:
            print(f"      {case['books']}\n      {case['loss']}\n      {case['bpftrace_error']}")
    for raw in results.glob("*.ndjson"):
        shutil.copy(raw, compatibility.REPOSITORY / "tests/data")
    return all(case["pass"] for case in told["cases"])


def _boot(suite: str, root_suite: str, work: Path) -> Path:
    image = _image(root_suite)
    kernel, initramfs = _kernel_files(suite, work)
    with initramfs.open("ab") as archive:
        archive.write(_cpio(_job(root_suite, work)))
    disk, console = work / "results.disk", work / "console"
    with disk.open("wb") as empty:
        empty.truncate(64 << 20)
    command = [
        "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off",
        "-smp", "1", "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none",
        "-no-reboot", "-serial", f"file:{console}", "-kernel", str(kernel),
        "-initrd", str(initramfs),
        "-drive", f"file={image},format=raw,if=virtio,readonly=on",
        "-drive", f"file={disk},format=raw,if=virtio",
        "-append", "console=ttyS0 rdinit=/init panic=-1 mitigations=off no_timer_check "
        "tsc=reliable random.trust_cpu=on quiet",
    ]  # fmt: skip
    results = roots.CACHE / "kernels" / f"results-{suite}"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    try:
        subprocess.run(command, check=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
        with tarfile.open(disk) as archive:
            archive.extractall(results, filter="data")
    except (subprocess.SubprocessError, tarfile.TarError) as error:
        tail = console.read_text(errors="replace")[-3000:] if console.exists() else ""
        said = f"the guest brought nothing back ({error}); its console ends:\n{tail}"
        raise SystemExit(said) from error
    return results


def _image(suite: str) -> Path:
    root = roots.root(suite)
    image = roots.CACHE / "roots" / f"{root.name}.ext4"
    if not image.exists():
        blocks = subprocess.run(["du", "-sm", root], check=True, capture_output=True, text=True)
        size = int(blocks.stdout.split()[0]) * 5 // 4 + 64
        part = image.with_suffix(".part")
        part.unlink(missing_ok=True)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, part, f"{size}M"], check=True)
        part.rename(image)
    return image


def _kernel_files(suite: str, work: Path) -> tuple[Path, Path]:
    """The kernel and an initramfs with the modules for the two disks."""
    tree = roots.kernel(suite)
    (kernel,) = tree.glob("boot/vmlinuz-*")
    release = kernel.name.removeprefix("vmlinuz-")
    start = work / "initramfs"
    for folder in ("bin", "modules", "proc", "sys", "dev"):
        (start / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", start / "bin/busybox")
    (start / "init").write_text(INIT.replace("#!/bin/sh\n", BUSYBOX))
    (start / "init").chmod(0o755)
    order = []
    for module in _with_dependencies(tree, release):
        order.append(module.name.split(".ko")[0] + ".ko")
        (start / "modules" / order[-1]).write_bytes(_plain(module))
    (start / "modules/order").write_text("\n".join(order))
    packed = work / "initramfs.cpio"
    packed.write_bytes(_cpio(start))
    return kernel, packed


BUSYBOX = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/sbin:/usr/bin:/sbin
"""


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


def _job(root_suite: str, work: Path) -> Path:
    """guest.sh and the wheel with its dependencies, built for the guest's Python."""
    start = work / "job"
    site = start / "job/site"
    site.mkdir(parents=True)
    shutil.copy(compatibility.REPOSITORY / "tools/guest.sh", start / "job")
    (python,) = (roots.root(root_suite) / "usr/bin").glob("python3.??")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", work, compatibility.REPOSITORY], check=True)
    (wheel,) = work.glob("mmaplock_bt-*.whl")
    subprocess.run(
        [*pip, "install", "--target", site, "--only-binary=:all:", "--python-version",
         python.name.removeprefix("python"), wheel], check=True,
    )  # fmt: skip
    return start


def _cpio(folder: Path) -> bytes:
    """A cpio archive of the folder, padded so that another can follow."""
    listed = subprocess.run(["find", "."], cwd=folder, check=True, capture_output=True).stdout
    packed = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=folder, input=listed, check=True,
        capture_output=True,
    ).stdout  # fmt: skip
    return packed + bytes(-len(packed) % 512)


if __name__ == "__main__":
    sys.exit(main())
