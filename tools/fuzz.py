"""Fuzzes what reads texts from outside, with atheris: make fuzz. Findings become a corpus.

    fuzz.py TARGET SECONDS

An input that ends in anything but a Failure is written to tests/data/fuzz/TARGET/ by its hash; the
unit suite replays what is there (tests/unit/test_fuzz.py).
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests/data/fuzz"


def main(target: str, seconds: str) -> None:
    """Fuzzes one target for so long; ends at its first finding."""
    import atheris  # noqa: PLC0415  (the extra `fuzz`)

    with atheris.instrument_imports(include=["mmaplock_bt"]):
        from tests import fuzz_targets  # noqa: PLC0415

    run: Callable[[bytes], None] = fuzz_targets.TARGETS[target]
    folder = CORPUS / target
    seeds = ROOT / ".fuzz" / target
    for place in (folder, seeds):
        place.mkdir(parents=True, exist_ok=True)
    for data in fuzz_targets.SEEDS[target]():
        (seeds / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def once(data: bytes) -> None:
        try:
            run(data)
        except BaseException:
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
            raise

    limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=65536"]
    atheris.Setup([sys.argv[0], *limits, str(seeds)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(*sys.argv[1:])
