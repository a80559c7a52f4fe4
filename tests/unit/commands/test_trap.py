"""The trap: what springs it, when it is armed again, what it keeps of the time before."""

import pytest

from mmaplock_bt.commands import trap
from mmaplock_bt.errors import UsageError
from mmaplock_bt.result.saved import from_json
from mmaplock_bt.spec import declaration
from mmaplock_bt.spec.columns import OWNER_KINDS
from mmaplock_bt.stream.records import Decoder, Look, Span, Trailer
from tests.builders import escaped, head, printed, stack_text


def test_limits():
    assert trap.parse(["hold > 50ms", "wait>=1s"]) == {"hold": 50_000_000, "wait": 10**9}


@pytest.mark.parametrize("text", ["hold", "hold < 5ms", "held > 5ms", "hold > 5", "wait > 5us"])
def test_wrong_limits(text):
    with pytest.raises(UsageError):
        trap.parse([text])


class Capture:
    """A capture that ends when it is told to."""

    def __init__(self):
        self.returncode = None

    def poll(self):
        return self.returncode

    def wait(self):
        self.returncode = 0


def line(ns: int) -> str:
    row = f"holds|5|{ns}|0|1|1|" + "\\\\x61" * 1 + "|0|1|\\\\x61|0|0|ab|"
    return '{"type": "printf", "data": "' + row + '"}'


def test_it_arms_again_and_ends_with_enough(tmp_path):
    outputs = declaration.shipped("_trap").declaration.outputs
    started = []
    limits = trap.Limits({"hold": 100}, keep=2, captures=2, disk_bytes=10**9)

    def capture(_place):
        started.append(Capture())
        return started[-1]

    one = trap.Trap(limits, tmp_path, capture, lambda _: None)

    def lines():
        yield line(99)
        assert not started
        yield line(100)
        assert len(started) == 1
        yield line(500)  # while it captures
        assert len(started) == 1
        started[0].returncode = 0
        yield line(500)
        assert len(started) == 2
        started[1].returncode = 0
        yield line(1)
        raise AssertionError("two are enough")

    decoder = Decoder(outputs)
    read = (record for line in lines() for record in decoder.decode([line]))
    places = one.watch(head(outputs), read)
    assert len(places) == 2
    assert len(one.recent) == 2, "the last ones only"
    held = [[row["hold_ns"] for row in kept(place).events("holds")] for place in places]
    assert held == [[99, 100], [500, 500]], "what came before each"
    assert (places[0] / "reason.txt").read_text() == "a hold lasted 100 ns\n"


def test_of_many_events_at_once_the_one_that_springs_it_is_the_last(tmp_path):
    outputs = declaration.shipped("_trap").declaration.outputs
    limits = trap.Limits({"hold": 100}, keep=2, captures=1, disk_bytes=10**9)
    one = trap.Trap(limits, tmp_path, lambda _: Capture(), lambda _: None)
    (place,) = one.watch(head(outputs), Decoder(outputs).decode(map(line, (1, 2, 100, 3))))
    assert [row["hold_ns"] for row in kept(place).events("holds")] == [2, 100]


def kept(place):
    """What was before a capture; an excerpt is never complete."""
    result = from_json((place / "before.json").read_text())
    assert not result.loss.complete and result.loss.unparsed_lines == 0
    return result


def test_a_span_that_is_open_springs_it_and_is_kept(tmp_path):
    outputs = declaration.shipped("_trap").declaration.outputs
    said = []
    limits = trap.Limits({"wait": 100}, keep=2, captures=1, disk_bytes=10**9)
    one = trap.Trap(limits, tmp_path, lambda _: Capture(), said.append)
    spans = [Span("wait", 7, "0x1", "write", since_ns) for since_ns in (901, 900)]
    looks = [Look(1000, spans=(span,)) for span in spans]
    (place,) = one.watch(head(outputs), looks)
    assert said[0].startswith("a write wait is open for 100 ns: capturing into ")
    assert [row["tid"] for row in kept(place).events("stuck")] == [7, 7]


def test_a_bpftrace_that_died_is_its_failure(tmp_path):
    outputs = declaration.shipped("_trap").declaration.outputs
    one = trap.Trap(trap.Limits({}, 2, 1, 10**9), tmp_path, lambda _: Capture(), lambda _: None)
    assert one.watch(head(outputs), [Trailer("bpftrace_died", 5, failure="it died")]) == []
    assert one.failure == "it died"


def test_a_hold_that_nobody_can_wait_for_springs_nothing(tmp_path):
    """A process that is torn down holds its own lock, however long; a wait is somebody's."""
    outputs = declaration.shipped("_trap").declaration.outputs
    limits = trap.Limits({"hold": 100, "wait": 100}, keep=9, captures=9, disk_bytes=10**9)
    teardown, comm = OWNER_KINDS.index("teardown"), escaped(b"a")

    def sprung(*records):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        one = trap.Trap(limits, folder, lambda _: Capture(), lambda _: None)
        lines = [*records, Trailer("interrupt", 1).line()]
        return one.watch(head(outputs), Decoder(outputs).decode(lines))

    def ended(kind):
        return printed(f"holds|5|500|0|1|1|{comm}|0|1|{comm}|{kind}|0|ab|{stack_text(['f+1'])}")

    def open_(state):
        span = Span(state, 1, "0x00000000000000ab", "read", 0)
        return printed(f"whose|ab|1|{teardown}|0|{comm}"), Look(500, False, (span,)).line()

    assert sprung(ended(0)) and not sprung(ended(teardown))
    assert sprung(*open_("wait")) and not sprung(*open_("hold"))
