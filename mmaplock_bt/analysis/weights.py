"""How many locks an event stands for, where one in a changing number was followed."""

from mmaplock_bt.stream.collect import Collected


class Weights:
    """The weights of a window, while its records come in."""

    def __init__(self, got: Collected) -> None:
        self._got = got

    @property
    def are_even(self) -> bool:
        """Whether each event has stood for one lock so far, or for as many as every other."""
        return not self._got.steps

    def of(self, began_ns: int) -> int:
        """Returns how many a wait or hold stands for that began then, by the script's clock."""
        since_ns = began_ns - (self._got.opened_ns or 0)
        begun = [step.sample for step in self._got.steps if step.since_ns <= since_ns]
        return begun[-1] if begun else 1
