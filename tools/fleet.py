"""Programs that read what the agent tells, for tests/fleet: python tools/fleet.py

Prometheus with promtool, node_exporter and VictoriaMetrics out of Debian's packages, unpacked into
~/.cache/mmaplock-bt/fleet and not installed: that would start servers.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mmaplock_bt import resources

FOLDER = resources.cache() / "fleet"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# program -> package and the suite that has it
PACKAGES = {
    "promtool": ("prometheus", "bookworm"),
    "prometheus": ("prometheus", "bookworm"),
    "prometheus-node-exporter": ("prometheus-node-exporter", "bookworm"),
    "victoria-metrics": ("victoria-metrics", "sid"),
}


def program(name: str) -> str | None:
    """Returns its path: unpacked by this tool, or installed; None where it is neither."""
    return shutil.which(name, path=f"{FOLDER}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def main() -> int:
    """Unpacks what is missing."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for package, suite in {PACKAGES[name] for name in PACKAGES if program(name) is None}:
        with tempfile.TemporaryDirectory() as folder:
            _unpack(package, suite, Path(folder))
    return 0


def _unpack(package: str, suite: str, folder: Path) -> None:
    """By lists of its own: the machine's may be of another suite, or stale."""
    import roots  # noqa: PLC0415  (whoever asks for a program alone has no such folder)

    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={KEYS}] {roots.mirror()} {suite} main\n")
    options = {
        "Dir::Etc::SourceList": sources, "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": folder / "lists", "Dir::Cache": folder / "cache",
        "Acquire::Check-Valid-Until": "false", "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", package], check=True, cwd=folder)
    (found,) = folder.glob("*.deb")
    subprocess.run(["dpkg", "-x", str(found), str(FOLDER)], check=True)


if __name__ == "__main__":
    sys.exit(main())
