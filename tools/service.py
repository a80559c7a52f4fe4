"""The agent's unit under a live systemd: our packages in Debian 13, emulated: service.py

What is in dist/ is installed by apt into a copy of a root, which is booted with systemd as its
first process; tools/service_guest.py then is a service of its own there, and tells what it met.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import compatibility
import kernels
import roots
from guests import GUESTS

from mmaplock_bt import NAME

CHECKS = Path(__file__).with_name("service_guest.py")
GUEST = GUESTS["trixie"]
TIMEOUT_S = 1500
INIT = """\
#!/bin/sh
cp /job/checks.service /etc/systemd/system/
exec /lib/systemd/systemd --unit=checks.service
"""
UNIT = """\
[Unit]
Description=What becomes of the agent's unit
Requires=basic.target
After=basic.target
DefaultDependencies=no

[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh /job/checks.sh
"""
SCRIPT = """\
checks() { python3 /job/checks.py 2> /out/checks.err; echo $? > /out/rc; }
checks | tee /dev/console > /out/told.json
journalctl --unit mmaplock-bt-agent --output cat --no-pager > /out/journal
tar -C /out -cf /dev/vdb .
sync
systemctl poweroff --force --force
"""


def main() -> int:
    """Returns 0 where every check passed, else 1."""
    packages = sorted((compatibility.REPOSITORY / "dist").glob(f"{NAME}*.deb"))
    if not packages:
        raise SystemExit("no packages in dist/: make package")
    with tempfile.TemporaryDirectory(prefix="mmaplock-bt-service-") as folder:
        work = Path(folder)
        image = kernels.image(_installed(work / "root", packages), work / "root.ext4")
        shutil.rmtree(work / "root")
        command = kernels.prepared(GUEST, work, _job(work / "job"), image)
        return _told(kernels.booted(command, work, TIMEOUT_S))


def _installed(root: Path, packages: list[Path]) -> Path:
    """A root with systemd in which apt has installed ours."""
    made = roots.equipped(GUEST.root_suite, "systemd,systemd-sysv")
    subprocess.run(["cp", "--archive", "--reflink=auto", made, root], check=True)
    roots.offer(root, packages)
    for words in (["update"], ["--yes", "install", NAME]):
        argv = roots.inside(root, "apt-get", "--quiet=2", *words)
        subprocess.run(argv, check=True, env=roots.ENVIRONMENT, timeout=roots.TIMEOUT_S)
    return root


def _job(start: Path) -> Path:
    job = start / "job"
    job.mkdir(parents=True)
    (job / "init").write_text(INIT)
    (job / "init").chmod(0o755)
    (job / "checks.service").write_text(UNIT)
    (job / "checks.sh").write_text(SCRIPT)
    shutil.copy(CHECKS, job / "checks.py")
    return start


def _told(results: Path) -> int:
    code = (results / "rc").read_text().strip()
    told = [json.loads(line) for line in (results / "told.json").read_text().splitlines()]
    for what, right, found in told:
        print(f"{'pass' if right else 'FAIL'}  {what:<44} {found}")
    right = code == "0" and bool(told) and all(one[1] for one in told)
    if not right:
        print((results / "checks.err").read_text(), (results / "journal").read_text(), sep="\n")
    return not right


if __name__ == "__main__":
    sys.exit(main())
