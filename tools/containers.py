"""The image, and containers without a daemon: python tools/containers.py COMMAND...

Builds deploy/Dockerfile on a base made here, then runs COMMAND where Podman's storage is a folder
of ~/.cache/mmaplock-bt: in a mount namespace of its own, so that the machine's containers are not
seen and nothing stays mounted.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mmaplock_bt import resources

ROOT = Path(__file__).resolve().parents[1]
FOLDER = resources.cache() / "containers"
IMAGE = "localhost/mmaplock-bt"
BASE = "docker.io/library/debian:13-slim"  # the Dockerfile's; no registry is asked
SUITE = "trixie"
# Podman's own places: the tool reads names there.
STORES = {"graph": "/var/lib/containers/storage", "run": "/run/containers/storage"}
CGROUPS = Path("/sys/fs/cgroup")
INSIDE = "MMAPLOCK_CONTAINERS"  # set where the tests may run
# How this machine's pip finds packages and believes them; absent elsewhere.
PIPS = ("/etc/pip.conf", "/etc/ssl/certs")


def main(command: Sequence[str]) -> int:
    """Enters the namespace, then builds and runs; returns the command's status."""
    if not os.environ.get(INSIDE):
        words = ("unshare", "--mount", "--propagation", "private", sys.executable, __file__)
        os.execvpe(words[0], [*words, *command], os.environ | {INSIDE: "1"})
    _mount()
    try:
        _build()
        return subprocess.run(command, check=False).returncode
    finally:
        _podman("rm", "--all", "--force", check=False)
        _remove_cgroups()


def _mount() -> None:
    for name, place in STORES.items():
        for folder in (FOLDER / name, Path(place)):
            folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(FOLDER / name), place], check=True)
    # crun refuses a machine with both hierarchies in use (crun 1.8).
    if (CGROUPS / "memory").exists() and (CGROUPS / "unified").is_mount():
        subprocess.run(["umount", str(CGROUPS / "unified")], check=True)


def _remove_cgroups() -> None:
    """Those of Podman's own, which it leaves; not where another's containers are in them."""
    for folder in CGROUPS.glob("*/libpod_parent"):
        with suppress(OSError):
            (folder / "conmon").rmdir()
            folder.rmdir()


def _build() -> None:
    """Without network namespaces: what a RUN line fetches comes by this machine's own ways."""
    if _podman("image", "exists", BASE, check=False):
        _import_base()
    volumes = [f"--volume={path}:{path}:ro" for path in PIPS if Path(path).exists()]
    _podman(
        "build", "--quiet", "--isolation=chroot", "--network=host", "--pull=never", *volumes,
        f"--tag={IMAGE}", f"--file={ROOT}/deploy/Dockerfile", str(ROOT),
    )  # fmt: skip
    _podman("image", "prune", "--force", "--filter=until=24h")  # what earlier builds left


def _import_base() -> None:
    """Debian's smallest, in place of the image that a registry has."""
    import roots  # noqa: PLC0415  (whoever asks for a name alone has no such folder)

    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        archive = f"{folder}/base.tar"
        roots.bootstrap(Path(archive), SUITE, "minbase", "ca-certificates")
        _podman("import", "--quiet", archive, BASE)


def _podman(*words: str, check: bool = True) -> int:
    done = subprocess.run(["podman", *words], check=check, stdout=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
