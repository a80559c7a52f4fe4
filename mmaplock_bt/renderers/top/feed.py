"""Between the thread that traces and the one that draws."""

import threading
from collections import deque

from mmaplock_bt.renderers.live.moment import Moment

NOTES = 1000


class Feed:
    """The latest moment, what was said beside, and whether the result is to be written.

    Attributes are set as a whole by one thread each; nothing else is shared.
    """

    def __init__(self) -> None:
        self.latest: Moment | None = None
        self.notes: deque[str] = deque(maxlen=NOTES)
        self.has_begun = threading.Event()  # there is a moment, or there will be none
        self.has_ended = threading.Event()  # the window
        self.is_asked = threading.Event()  # to write the result so far

    @property
    def last(self) -> str:
        """The sentence that was said last, or ''."""
        return self.notes[-1] if self.notes else ""

    def say(self, sentence: str) -> None:
        """Notes a sentence."""
        self.notes.append(sentence)
