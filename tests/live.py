"""The story of story.py while its window is open: what has passed, and what a look sees then."""

from mmaplock_bt.analysis import analyse
from mmaplock_bt.analysis.making import Making
from mmaplock_bt.renderers.live import moment
from mmaplock_bt.stream import recording, records
from mmaplock_bt.stream.bpftrace_json import MapDump
from mmaplock_bt.stream.collect import collect
from mmaplock_bt.stream.records import Decoder, Dropped, Look, Trailer
from mmaplock_bt.tracing.onlooker import Standing
from tests import story

_AT_THE_END = (records.BOOK, records.PRINTED, records.HOLDING, records.WAITING, records.CLOSED)
NOTHING = Dropped(0, 0, 0)


class Open:
    """A profile's window just before it closes."""

    def __init__(self, name="overview", flavour="full", told=None):
        self.head, lines = recording.read(story.lines(name, flavour, told))
        found = list(Decoder(self.head.outputs).decode(lines))
        ended = (MapDump, records.Closed, Trailer)
        self.rest = [one for one in found if isinstance(one, ended) or _is_last(one)]
        self.seen = [
            one for one in self.rest
            if isinstance(one, Look)
            or (isinstance(one, MapDump) and not one.name.startswith(_AT_THE_END))
        ]  # fmt: skip
        self.making = Making(self.head.outputs)
        passed = [one for one in found if one not in self.rest]
        collect(passed, self.making.takers, self.making.got)

    def so_far(self, *more):
        return analyse.so_far(self.head, self.making, [*self.seen, *more], story.WINDOW)

    def moment(self, before=None, open_ns=story.WINDOW, dropped=NOTHING, unread="", late=0):
        standing = Standing(1, open_ns, 4 * 10**9, dropped)
        return moment.made(self.so_far(dropped), standing, unread, late, before)


def _is_last(record):
    return isinstance(record, Look) and record.last
