"""The kernel module as a check: in Debian's emulated kernels it must count what we count.

python tools/module_peer.py [SUITE...]: builds it against the suite's headers, boots the suite's
kernel as tools/kernels.py does, and runs it beside hold-times.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import compatibility
import kernels
import roots
from guests import GUESTS

from bench import workshop

SUITES = ("bookworm", "trixie", "sid")
SOURCE = workshop.PEERS / "module"
GUEST = Path(__file__).with_name("module_guest.sh")
TIMEOUT_S = 300
# With /proc (objtool reads its own limits, 7.2), in a mount namespace: nothing is left mounted.
IN_ROOT = (
    "unshare", "--mount", "--propagation", "private",
    "sh", "-c", 'mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"',
)  # fmt: skip


def main(suites: list[str]) -> int:
    """Exit 1 where a count differs. What could not be built or booted is told, and is no count."""
    if unknown := set(suites) - set(SUITES):
        print(f"module_peer: no such suite: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    return 1 if any([_suite(name) for name in suites or SUITES]) else 0


def _suite(name: str) -> list[str]:
    """Returns what differs; prints the sentence."""
    try:
        told = _checked(name)
    except (compatibility.BrokenError, workshop.MissingError, subprocess.SubprocessError) as error:
        print(f"{name}: {error}", flush=True)
        return []
    print(json.dumps(told))
    differences: list[str] = told["differences"]
    verdict = told["refusal"] or "; ".join(differences) or "counts and sums equal ours"
    print(f"{name}, Linux {told['kernel']}: {verdict}", flush=True)
    return differences


def _checked(name: str) -> dict[str, Any]:
    """What bench.in_guest printed, with the kernel's release."""
    with tempfile.TemporaryDirectory(prefix="mmaplock-bt-module-") as folder:
        work = Path(folder)
        guest = GUESTS[name]
        job = kernels.job_of(guest, work, GUEST)
        _filled(job / "job", name, work)
        results = kernels.booted(kernels.prepared(guest, work, job), work)
        printed = (results / "check.json").read_text()
        if not printed:
            raise compatibility.BrokenError((results / "check.err").read_text()[-2000:])
        return {**json.loads(printed), "kernel": (results / "kernel").read_text().strip()}


def _filled(job: Path, name: str, work: Path) -> None:
    """Adds the module, the victim, the bench and what loads a module."""
    shop = workshop.Workshop(work)
    shop.build("victim")
    if "victim" in shop.missing:
        raise workshop.MissingError(shop.missing["victim"])
    shutil.copy(shop.argv["victim"][0], job / "victim")
    shutil.copytree(workshop.HERE, job / "site/bench")
    (job / "bin").mkdir()
    shutil.copy(shutil.which("busybox") or "", job / "bin/busybox")
    (job / "module").mkdir()
    shutil.copy(SOURCE / "peer.sh", job / "module")
    (job / "module/peer.sh").chmod(0o755)
    shutil.copy(_module(name, work), job / "module/mmap_hold.ko")


def _module(name: str, work: Path) -> Path:
    """Builds it with the suite's own compiler. Raises MissingError."""
    root = roots.headers(name)
    _, release = kernels.kernel_in(roots.kernel(name))
    if not (root / f"usr/src/linux-headers-{release}").exists():
        kept = f"{roots.CACHE}/{{headers,kernels}}/{name}"
        raise workshop.MissingError(f"headers and kernel are of different days: delete {kept}")
    with tempfile.TemporaryDirectory(prefix="module-", dir=root / "tmp") as folder:
        for file in ("Kbuild", "mmap_hold.c"):
            shutil.copy(SOURCE / file, folder)
        _make(root, release, Path("/") / Path(folder).relative_to(root))
        return Path(shutil.copy(Path(folder) / "mmap_hold.ko", work))


def _make(root: Path, release: str, folder: Path) -> None:
    make = ["make", "-s", "-C", f"/usr/src/linux-headers-{release}", f"M={folder}", "modules"]
    done = subprocess.run(
        [*IN_ROOT, root, *make], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    if done.returncode:
        raise workshop.MissingError(f"the module does not build: {done.stderr[-500:]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
