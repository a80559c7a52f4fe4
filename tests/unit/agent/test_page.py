"""docs/agent.md says what is told, and what may be configured."""

import re

import yaml

from mmaplock_bt.agent.config import Config, Otlp, Textfile, Trap
from mmaplock_bt.agent.exposition import families, pushed, reloaded
from mmaplock_bt.agent.supervision import REASONS
from mmaplock_bt.machine import inventory
from tests.shell import ROOT
from tests.unit.agent.test_exposition import TRACING, snapshot

PAGE = (ROOT / "docs/agent.md").read_text()


def test_the_page_names_every_metric_with_its_labels():
    told = dict(re.findall(r"^\| `(mmaplock_\w+)` \| *(.*?) *\|", PAGE, re.MULTILINE))
    found = {}
    made = *families(snapshot(TRACING), inventory.offline()), *pushed(0, 0), *reloaded(True)
    for one in made:
        name = one.name + "_total" * (one.type == "counter")
        labels = dict.fromkeys(label for s in one.samples for label in s.labels if label != "le")
        found[name] = ", ".join(f"`{label}`" for label in labels)
    assert told == found


def test_the_page_shows_the_defaults():
    shown = yaml.safe_load(PAGE.partition("```yaml\n")[2].partition("```")[0])
    assert Config.model_validate(shown) == Config()


def test_so_it_does_of_the_trap():
    """The folder alone has no default."""
    shown = _shown("trap")
    assert Trap.model_validate(shown) == Trap(folder=shown["folder"])


def test_so_it_does_of_the_other_ways_out():
    file, otlp = _shown("textfile"), _shown("otlp")
    assert Textfile.model_validate(file) == Textfile(path=file["path"])
    assert Otlp.model_validate(otlp) == Otlp(url=otlp["url"])


def _shown(key):
    blocks = [block.partition("```")[0] for block in PAGE.split("```yaml\n")[1:]]
    (found,) = (block for block in map(yaml.safe_load, blocks) if key in block)
    return found[key]


def test_the_page_names_every_reason():
    told = PAGE.partition("`mmaplock_down`")[2].partition("\n")[0]
    assert re.findall(r"`(\w+)`", told)[1:] == list(REASONS)
