"""Draws docs/architecture.svg: the rooms in the order of the import contract, and who imports whom.

python tools/architecture.py [--check]: with --check it exits 1 when the file is not up to date.
Each room that is imported has a line that leads to it; a dot on it is a room that imports it.
"""

import ast
import re
import sys
import textwrap
import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/architecture.svg"
PACKAGE = "mmaplock_bt"
MARGIN, HEIGHT, GAP, LAYER_GAP, OUT, INTO = 16, 52, 6, 12, 18, 36  # lines leave at OUT in a box
RIGHT, LANE, CHARACTERS = 500, 18, 72  # boxes' end; between lines down; of a docstring in a line
STYLE = """<style>
  text { font: 12px sans-serif; fill: #4f5b67 } .room { font: bold 14px monospace; fill: #1d2733 }
  .paper { fill: #ffffff } .box { fill: #f3f5f8; stroke: #9aa7b5 }
  .wire { fill: none; stroke: #47699e } .dot { fill: #47699e }
  @media (prefers-color-scheme: dark) {
    text { fill: #a9b5c2 } .room { fill: #e4e9ef }
    .paper { fill: #10151b } .box { fill: #1b232d; stroke: #5c6773 }
    .wire { stroke: #86aee6 } .dot { fill: #86aee6 } }</style>
<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"
  orient="auto"><path class="dot" d="M0 0L8 4L0 8z"/></marker>"""


@dataclass(frozen=True)
class Room:
    name: str
    top: int  # of its box
    sentence: str
    imports: frozenset[str]


def layers() -> list[list[str]]:
    """The contract's lines, top first: the names in each, without the package before them."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    written = next(one["layers"] for one in told["contracts"] if one["type"] == "layers")
    return [re.findall(r"\w+", line.replace(f"{PACKAGE}.", "")) for line in written]


def sentence(name: str) -> str:
    """The first line of a room's docstring; empty where it has none."""
    path = ROOT / PACKAGE / name
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(source.read_text("utf-8"))) or "").partition("\n")[0]


def imports(graph: grimp.ImportGraph, name: str) -> frozenset[str]:
    """The rooms that the modules of this one import."""
    inside = {f"{PACKAGE}.{name}", *graph.find_descendants(f"{PACKAGE}.{name}")}
    found = set[str]().union(*map(graph.find_modules_directly_imported_by, inside))
    return frozenset(other.split(".")[1] for other in found - {PACKAGE}) - {name}


def rooms() -> list[Room]:
    sys.path.insert(0, str(ROOT))  # this checkout's package, whatever is installed
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    found, top = list[Room](), MARGIN
    for layer in layers():
        for name in layer:
            found.append(Room(name, top, sentence(name), imports(graph, name)))
            top += HEIGHT + GAP
        top += LAYER_GAP
    return found


def box(room: Room) -> list[str]:
    written = textwrap.wrap(room.sentence, CHARACTERS, max_lines=2, placeholder=" …")
    at = [f'x="{MARGIN + 8}" y="{room.top + y}"' for y in (17, 33, 47)]
    place = f'x="{MARGIN}" y="{room.top}" width="{RIGHT - MARGIN}" height="{HEIGHT}"'
    drawn = [f'<rect class="box" {place}/>', f'<text class="room" {at[0]}>{room.name}</text>']
    return drawn + [f"<text {a}>{escape(t)}</text>" for a, t in zip(at[1:], written, strict=False)]


def wires(room: Room, importers: list[Room], lanes: dict[str, int]) -> list[str]:
    """The line out of a room with a dot for each room that it imports; the line that leads in."""
    out, used = room.top + OUT, sorted(lanes[name] for name in room.imports)
    drawn = [f'<path class="wire" d="M{RIGHT} {out}H{used[-1]}"/>'] if used else []
    drawn += [f'<circle class="dot" cx="{x}" cy="{out}" r="3.5"/>' for x in used]
    if importers:
        way = f"M{lanes[room.name]} {importers[0].top + OUT}V{room.top + INTO}H{RIGHT + 1}"
        drawn.append(f'<path class="wire" marker-end="url(#arrow)" d="{way}"/>')
    return drawn


def picture() -> str:
    known = rooms()
    importers = {room.name: [one for one in known if room.name in one.imports] for room in known}
    imported = [name for name, found in importers.items() if found]
    lanes = {name: RIGHT + LANE * at for at, name in enumerate(imported, 2)}
    width, height = max(lanes.values()) + MARGIN, known[-1].top + HEIGHT + MARGIN
    drawn = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">', STYLE]
    drawn += [f'<rect class="paper" width="{width}" height="{height}"/>']
    for room in known:
        drawn += box(room) + wires(room, importers[room.name], lanes)
    return "\n".join([*drawn, "</svg>\n"])


def main(arguments: list[str]) -> int:
    drawn = picture()
    if arguments != ["--check"]:
        PICTURE.write_text(drawn, "utf-8")
    elif not PICTURE.exists() or PICTURE.read_text("utf-8") != drawn:
        print("docs/architecture.svg is not up to date: run python tools/architecture.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
