"""Which rows of an analysis are findings, and in what words: declared with the template.

A finding is a sentence about one row of a table: who was harmed, by whom, why, how much. `says` has
names in braces, filled from the row: any of its columns, and

  {victim}    who waited: 'redis-server[812]', or '3 processes named ps' where `victims` says so
  {culprit}   who held the lock, in the same way
  {cause}     the cause in plain words, to stand behind 'it was'
  {total} {longest} {often} {share}   'often' is count and rhythm, 'share' is of the window
"""

import re
from string import Formatter
from typing import Literal

from pydantic import Field, field_validator

from mmaplock_bt.spec.outputs import Strict

# How bad it is, the worst first: time that others waited, spans that had not ended, nothing (a
# sentence that says so), and what was merely held.
HARMS = ("waited", "open", "calm", "held")
Harm = Literal["waited", "open", "calm", "held"]
MADE = ("victim", "culprit", "cause", "total", "longest", "often", "share")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9])?)\s*%")


class Party(Strict):
    """Columns that name a side: `name`, and where one process is meant its `pid`."""

    name: str = Field(description="the column that holds its name")
    pid: str | None = Field(None, description="the column that holds its process id")
    number: str | None = Field(None, description="the column that counts the processes")
    kind: str | None = Field(None, description="the column that tells kernel threads")


class CalmRule(Strict):
    """What is said where nobody was found to have waited: the first whose condition holds."""

    when: str = Field(description="the condition, a gate's text")
    says: str = Field(description="the sentence; {observed} becomes the figure")


class FindingRule(Strict):
    """Makes findings of the rows of a table, or of events: each of these counts as one."""

    of: str = Field(description="the table, or the events")
    harm: Literal["waited", "open", "held"] = Field(
        description="how bad: others waited, open, or merely held"
    )
    says: str = Field(description="the sentence; names in braces are filled in")
    itself: str = Field(
        "", description="the sentence where victim and culprit are the same process"
    )
    victim: Party | None = Field(None, description="who was harmed")
    culprit: Party | None = Field(None, description="who did it")
    total: str = Field("sum", description="the column by which findings are ranked, in ns")
    longest: str = Field("max", description="the column of the longest one, in ns")
    often: str = Field("count", description="the column that says how often")
    times: str = Field("time|times", description="what is counted: singular|plural")
    where: dict[str, str | int] = Field({}, description="only rows with these values")
    but: dict[str, list[str]] = Field({}, description="no rows with one of these values")
    least: str = Field("0 %", description="the least share of the window, like 1 %")
    is_bound: bool = Field(False, description="the total is a lower bound whatever was seen")
    locks: Literal["all", "contended"] | None = Field(
        None, description="only where these locks were followed"
    )
    run: str = Field("", description="the profile to run next")
    params: dict[str, str] = Field(
        {}, description="its parameters, where they are not the usual ones"
    )

    @field_validator("least")
    @classmethod
    def _is_share(cls, text: str) -> str:
        if not _PERCENT.fullmatch(text):
            raise ValueError(f"'{text}' is no share of the window, like 1 % or 0.5 %")
        return text

    @field_validator("times")
    @classmethod
    def _has_two(cls, text: str) -> str:
        if text.count("|") != 1:
            raise ValueError(f"'{text}' is not singular|plural")
        return text

    @property
    def least_permille(self) -> int:
        """The least share of the window, in thousandths."""
        found = _PERCENT.fullmatch(self.least)
        assert found is not None
        return int(float(found[1]) * 10)

    @property
    def columns(self) -> dict[str, str]:
        """The columns that the rule needs, by the place that names them."""
        parties = {"victim": self.victim, "culprit": self.culprit}
        found = {
            f"{side}.{part}": value
            for side, party in parties.items()
            if party is not None
            for part, value in vars(party).items()
            if value is not None
        }
        own = {name: getattr(self, name) for name in ("total", "longest", "often")}
        filters = {f"{key}.{name}": name for key in ("where", "but") for name in getattr(self, key)}
        return found | own | filters

    @property
    def names(self) -> set[str]:
        """The names in braces of its sentences. Raises ValueError for a broken brace.

        A width could fill the memory, an attribute could reach anything: both are no name.
        """
        found = set()
        for text in (self.says, self.itself):
            for _, name, width, conversion in Formatter().parse(text):
                if width or conversion:
                    raise ValueError(f"only names, not '{name}:{width or conversion}'")
                found |= {name} if name is not None else set()
        return found
