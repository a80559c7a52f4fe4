"""What fuzzing found once (tools/fuzz.py) is read, or refused with a sentence."""

import pytest

from tests import fuzz_targets
from tests.builders import DATA

FOUND = [path for path in sorted(DATA.glob("fuzz/*/*")) if path.is_file()]


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found(path):
    fuzz_targets.TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", fuzz_targets.TARGETS)
def test_every_target_reads_its_seeds(name):
    seeds = list(fuzz_targets.SEEDS[name]())
    assert seeds
    for data in seeds:
        fuzz_targets.TARGETS[name](data)
        fuzz_targets.TARGETS[name](data[: len(data) // 2])
