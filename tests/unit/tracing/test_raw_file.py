"""The file of --save-raw is bounded, and what it leaves out is told."""

from mmaplock_bt.stream.thinning import Thinning
from mmaplock_bt.tracing.raw_file import RawFile
from tests.builders import declared, map_line, printed

EVENT = printed("holds|1")
OTHERS = [printed("name|1|0|x"), map_line("printed_holds", {"": 7}), '{"type": "mmaplock-bt-end"}']


def test_beyond_its_bound_events_are_left_out_and_the_user_is_told_once(tmp_path):
    said = []
    thinning = Thinning(declared(holds={"kind": "events", "fields": ["time_ns"]}))
    path = tmp_path / "raw.ndjson"
    with RawFile(
        str(path), thinning, said.append, force=False, most_bytes=3 * (len(EVENT) + 1)
    ) as file:
        for line in [*[EVENT] * 7, *OTHERS, EVENT]:
            file.keep(line)
    assert path.read_text().splitlines() == [*[EVENT] * 3, *OTHERS]
    assert len(said) == 1 and "grown to its bound" in said[0] and file.unwritten == ""
