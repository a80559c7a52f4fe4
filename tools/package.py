"""Builds the Debian packages into dist/: python tools/package.py [pin].

From a copy of what is committed, in a root of Debian 12 with what the build needs; lintian must
find nothing to warn of. `pin` chooses anew which wheels they bring along: debian/wheels/*.txt.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import roots

from mmaplock_bt import NAME

ROOT = Path(__file__).resolve().parent.parent
PINNED = ROOT / "debian/wheels"
SUITE = "bookworm"
TIMEOUT_S = 300
# Those of debian/control: amd64 and arm64.
PLATFORMS = [f"manylinux2014_{name}" for name in ("x86_64", "aarch64")]
# package -> what Debian does not have, or has too old; pydantic's core is compiled.
WANTED = {
    NAME: [
        "cxxfilt",
        "opentelemetry-proto<1.27",
    ],  # newer ones want a protobuf that is in no Debian
    f"{NAME}-python3.11": ["junitparser", "prometheus-client", "pydantic", "rich", "textual"],
}
DEBIANS = ("protobuf",)  # of what these need
BUILD = """\
set -e
cd "$1"
dpkg-buildpackage --unsigned-source --unsigned-changes --ignore-builtin-builddeps
lintian --allow-root --fail-on error,warning --tag-display-limit 0 ../*.changes
"""


def build() -> list[Path]:
    """Builds the packages, and returns them as they are in dist/."""
    builder = roots.equipped(SUITE, ",".join([*_needed(), "dpkg-dev", "lintian"]))
    with tempfile.TemporaryDirectory(dir=builder) as folder:
        source = Path(folder, NAME)
        _copy(source)
        for package in WANTED:
            _bring(source / "debian/wheels" / package)
        where = f"/{source.relative_to(builder)}"
        _run(*roots.inside(builder, "sh", "-c", BUILD, "sh", where), env=roots.ENVIRONMENT)
        return [_kept(path) for path in sorted(Path(folder).glob("*.deb"))]


def _needed() -> list[str]:
    """debian/control's Build-Depends, without versions."""
    control = (ROOT / "debian/control").read_text()
    found = re.search(r"^Build-Depends: (.*)$", control, re.MULTILINE)
    assert found
    names = (re.sub(r"[ :].*", "", one.strip()) for one in found[1].split(","))
    virtual = {"debhelper-compat": "debhelper", "dh-sequence-python3": "dh-python"}
    return [virtual.get(name, name) for name in names]


def _copy(target: Path) -> None:
    """What is committed; without git's folder all that is no leftover."""
    target.mkdir()
    if not (ROOT / ".git").exists():
        names = (ROOT / ".gitignore").read_text().split()
        left = shutil.ignore_patterns(*(name.rstrip("/") for name in names))
        shutil.copytree(ROOT, target, ignore=left, dirs_exist_ok=True)
        return
    archive = target.with_suffix(".tar")
    # The checkout may be another user's.
    _run(
        "git",
        "-c",
        f"safe.directory={ROOT}",
        "-C",
        str(ROOT),
        "archive",
        "-o",
        str(archive),
        "HEAD",
    )
    shutil.unpack_archive(archive, target, filter="data")
    archive.unlink()


def _bring(folder: Path) -> None:
    """Downloads a package's wheels, those whose hashes are pinned, for each kind of processor."""
    wanted = ["--no-deps", "--require-hashes", "--requirement", str(PINNED / f"{folder.name}.txt")]
    for platform in PLATFORMS:
        _download(folder, platform, *wanted)


def _download(folder: Path, platform: str, *wanted: str) -> None:
    words = ["--quiet", "--only-binary", ":all:", "--python-version", "3.11"]
    words += ["--platform", platform, "--dest", str(folder), *wanted]
    _run(sys.executable, "-m", "pip", "download", *words)


def _kept(built: Path) -> Path:
    """As the checkout's owner's."""
    folder = ROOT / "dist"
    folder.mkdir(exist_ok=True)
    kept = Path(shutil.copy(built, folder))
    for path in (folder, kept):
        shutil.chown(path, ROOT.stat().st_uid, ROOT.stat().st_gid)
    return kept


def pin() -> None:
    """Writes which wheels are brought along, each with the hashes of all its kinds."""
    for package, wanted in WANTED.items():
        with tempfile.TemporaryDirectory() as folder:
            for platform in PLATFORMS:
                _download(Path(folder), platform, *wanted)
            (PINNED / f"{package}.txt").write_text("".join(_pins(Path(folder))))


def _pins(folder: Path) -> list[str]:
    kinds: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.whl")):
        name, version, *_ = path.name.split("-")
        if name not in DEBIANS:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            kinds.setdefault(f"{name}=={version}", []).append(f"--hash=sha256:{digest}")
    return [" \\\n    ".join([name, *hashes]) + "\n" for name, hashes in kinds.items()]


def _run(*words: str, env: dict[str, str] | None = None) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, env=env, timeout=TIMEOUT_S)


if __name__ == "__main__":
    if sys.argv[1:] == ["pin"]:
        pin()
    else:
        print(*build(), sep="\n")
