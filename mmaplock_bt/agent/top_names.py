"""Which names become labels: those that are wanted, and the few that weigh most."""

from collections import Counter
from collections.abc import Iterable

from mmaplock_bt.escaping import safe

OTHER = "other"
CANDIDATES = 500  # names whose weight is remembered; whoever likes can make new ones
TWICE = 2  # so much more must a name weigh that takes another's place: few ever change


class TopNames:
    """Labels for names, never more than were asked for, and OTHER.

    `left` are names that have lost their place since it was asked last.
    """

    def __init__(self, always: Iterable[str], top: int) -> None:
        self._always = frozenset(always)
        self._top = top
        self._weights: Counter[str] = Counter()
        self._places: set[str] = set()
        self.left: list[str] = []

    def follow(self, always: Iterable[str], top: int) -> None:
        """Gives places to others from now on; who has none any more has left."""
        before = self._always | self._places
        self._always, self._top = frozenset(always), top
        heaviest = sorted(self._places - self._always, key=self._weights.__getitem__, reverse=True)
        self._places = set(heaviest[:top])
        self.left += sorted(before - self._always - self._places)

    def label(self, name: str, weight: int) -> str:
        """Returns the label of a name that weighs so much more now; '' stays ''."""
        if not name:
            return ""
        if name not in self._always:
            self._weigh(name, weight)
        return safe(name) if name in self._always or name in self._places else OTHER

    def taken_off(self) -> list[str]:
        """Returns the labels that are used no more, each once."""
        left, self.left = self.left, []
        return [safe(name) for name in left]

    def _weigh(self, name: str, weight: int) -> None:
        self._weights[name] += weight
        if len(self._weights) > CANDIDATES:
            kept = dict(self._weights.most_common(CANDIDATES // 2))
            self._weights = Counter(kept | {one: self._weights[one] for one in self._places})
        if name in self._places or not self._top:
            return
        if len(self._places) >= self._top:
            least = min(self._places, key=self._weights.__getitem__)
            if self._weights[name] < TWICE * self._weights[least]:
                return
            self._places.remove(least)
            self.left.append(least)
        self._places.add(name)
