"""Faults of a template, found before it is rendered: each with file, line and column."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from jinja2 import Environment, TemplateSyntaxError, nodes

from mmaplock_bt import resources
from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec.columns import FAULTING
from mmaplock_bt.spec.declaration import SUFFIX, Declaration, Template
from mmaplock_bt.spec.outputs import Events, Output
from mmaplock_bt.spec.plain_yaml import Document
from mmaplock_bt.spec.profile import Profile, Side
from mmaplock_bt.stream.records import BOOK, LINES, PRINTED

BASE = "_mmap_lock"
BY_TRACEFS = "_tracefs"  # in the base's stead, for the engine over tracefs
PARTS = (BASE, "_every_lock", "_contended", "_records", BY_TRACEFS)
# The values of each block, as the base's header lists them.
_ALWAYS = ("now", "mm", "tid", "mode")
VALUES = {
    "wait_began": _ALWAYS,
    "wait_ended": (*_ALWAYS, "wait_ns", "began", "contended", "cpu_wait_ns", "short_ns"),
    "hold_began": (*_ALWAYS, "wait_ns", "began"),
    "hold_ended": (*_ALWAYS, "hold_ns", "watched", "preempted_ns", "asleep_ns"),
    "beat": ("now",),
    "probes": (),
    "renamed": (),
    "cleanup": (),
}
OWNERS = ("owner", "owner_pid", "owner_kind", "whose", "self", "actor_pid", "actor_kind")
_MEASURED = ("wait_ns", "hold_ns")
_FILLED_IN_PYTHON = {"cause", "reason", "current_stack", *FAULTING}
_FILLED_BY_BEHIND = {"label", "behind"}
_VARIABLE = re.compile(r"\$([a-z_]\w*)")
_ASSIGNED = re.compile(r"\$([a-z_]\w*)\s*=(?!=)")
_MAP = re.compile(r"@([a-z_]\w*)")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def filters(profile: Profile) -> None:
    """Raises UsageError for a filter that hides a side of the lock that the analysis needs."""
    allowed = profile.template.declaration.filters
    given = {
        "owner": profile.filter.owner != Side(),
        "actor": profile.filter.actor != Side(),
        "mode": profile.filter.mode,
    }
    for name, value in given.items():
        if value and name not in allowed:
            raise UsageError(
                f"{profile.template.name} needs both sides of the lock: it takes no {name} filter "
                f"(allowed: {', '.join(allowed)})"
            )


def following(profile: Profile) -> None:
    """Raises UsageError for a choice of locks that the analysis cannot follow."""
    declared, name = profile.template.declaration, profile.template.name
    if profile.locks is not None and profile.locks not in declared.locks:
        raise UsageError(f"{name} follows {declared.locks[0]} locks: it takes no other --locks")
    hidden = "actor" if profile.filter.actor != Side() else "mode" if profile.filter.mode else ""
    if profile.locks == "contended" and hidden:
        raise UsageError(
            "--locks contended needs every wait and hold of an address space: it takes no "
            f"{hidden} filter (--locks all does)"
        )
    if profile.sample > 1 and not declared.samples:
        raise UsageError(f"{name} would be wrong for one lock in {profile.sample}: no --sample")


def template(checked: Template) -> None:
    """Raises Faults with everything that is wrong in a template, in the file's order."""
    document = checked.document or Document(checked.file)
    document.faults.clear()
    _declared(checked.declaration, document)
    try:
        tree = Environment().parse(checked.source)
    except TemplateSyntaxError as error:
        document.faults.append((error.lineno, 1, f"not Jinja: {error.message}"))
        document.raise_faults()
        return
    _Body(checked, document).check(tree)
    document.raise_faults()


def _declared(declaration: Declaration, document: Document) -> None:
    """Notes where outputs collide with the base template or with each other."""
    taken = read_base()
    maps = {made: name for name, o in declaration.outputs.items() for made in _further(name, o)}
    for name, output in declaration.outputs.items():
        path = ("outputs", name)
        if name in taken or name.startswith((BOOK, PRINTED)):
            document.fault(path, f"the name '{name}' is taken by the base template")
        if maps.get(name, name) != name:
            document.fault(path, f"the output '{maps[name]}' keeps figures in a map of this name")
        for column in _never_filled(output):
            document.fault(path, f"nothing fills the column '{column}' of an output of this kind")


@cache
def read_base() -> frozenset[str]:
    """Returns the names that the base template gives to maps and lines."""
    text = "".join(
        (resources.shipped("templates") / (n + SUFFIX)).read_text("utf-8") for n in PARTS
    )
    return frozenset(_MAP.findall(text)) | frozenset(LINES)


def _further(name: str, output: Output) -> list[str]:
    """The maps, beside the one of its name, in which an output is counted."""
    is_summed = output.is_printed and output.kind in ("histogram", "table")
    return [f"{name}_sum", f"{name}_max"] if is_summed else []


def _never_filled(output: Output) -> list[str]:
    if not output.is_printed:
        return []
    filled = set(_FILLED_IN_PYTHON)
    if isinstance(output, Events) and output.behind:
        filled |= _FILLED_BY_BEHIND
    return [c.name for c in output.columns if not c.from_kernel and c.name not in filled]


@dataclass
class _Body:
    """The check of what follows the declaration."""

    checked: Template
    document: Document
    lines: list[str] = field(init=False)
    recorded: set[str] = field(default_factory=set)
    records_any: bool = False  # a record() whose output only rendering tells

    def __post_init__(self) -> None:
        self.lines = self.checked.source.split("\n")

    def check(self, tree: nodes.Template) -> None:
        self._extends(tree)
        for node in tree.body:
            if isinstance(node, nodes.Block):
                self._block(node)
            elif isinstance(node, nodes.Output):
                self._stray(node)
        self._calls(tree)
        self._params(tree)
        self._unrecorded()

    def _fault(self, line: int, what: str, message: str) -> None:
        """Notes a fault where `what` first stands, in this line or the next three."""
        for number in range(line, min(line + 3, len(self.lines)) + 1):
            column = self.lines[number - 1].find(what)
            if column >= 0:
                self.document.faults.append((number, column + 1, message))
                return
        self.document.faults.append((line, 1, message))

    def _extends(self, tree: nodes.Template) -> None:
        found = next(tree.find_all(nodes.Extends), None)
        if found is None:
            line = self.checked.source.count("\n", 0, self.checked.source.find("#}")) + 1
            wanted = f'{{% extends "{BASE}{SUFFIX}" %}}'
            self._fault(line, "#}", f"no {wanted}: nothing would be traced")
        elif isinstance(found.template, nodes.Const) and found.template.value != BASE + SUFFIX:
            self._fault(found.lineno, str(found.template.value), f"extend '{BASE}{SUFFIX}'")

    def _stray(self, node: nodes.Output) -> None:
        """Jinja drops what a child template has outside its blocks, without a word."""
        for part in node.nodes:
            text = part.data if isinstance(part, nodes.TemplateData) else "{{"
            if words := text.strip():
                line = part.lineno + text[: text.find(words)].count("\n")
                self._fault(line, words.split("\n")[0], "outside any block: it is not rendered")
                return

    def _block(self, block: nodes.Block) -> None:
        if block.name not in VALUES:
            known = ", ".join(VALUES)
            self._fault(block.lineno, block.name, f"no block '{block.name}', allowed: {known}")
            return
        self._values(block)

    def _values(self, block: nodes.Block) -> None:
        """Every $name must be the block's, set by the template, or the owner's after owner()."""
        own = set(_ASSIGNED.findall(_COMMENT.sub("", self.checked.source)))
        known = {*VALUES[block.name], *own}
        knows_owner = False
        for line, piece in _pieces(block):
            if piece == "owner()":
                knows_owner = True
                continue
            for name in _VARIABLE.findall(_COMMENT.sub(_blanks, piece)):
                at = line + piece[: piece.find(f"${name}")].count("\n")
                if name in OWNERS and name not in own and not knows_owner:
                    self._fault(at, f"${name}", f"${name} is known after {{{{ owner() }}}} only")
                    knows_owner = True  # once is enough
                elif name not in known and name not in OWNERS:
                    self._unknown_value(at, name, block.name)
                    known.add(name)

    def _unknown_value(self, line: int, name: str, block: str) -> None:
        has = ", ".join(f"${value}" for value in VALUES[block])
        self._fault(line, f"${name}", f"no value ${name} in '{block}', which has {has}")

    def _calls(self, tree: nodes.Template) -> None:
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name == "record":
                name = call.args[0] if call.args else None
                if isinstance(name, nodes.Const):
                    self._record(call, str(name.value))
                else:
                    self.records_any = True
        for block in tree.find_all(nodes.Block):
            self._measured(block)

    def _record(self, call: nodes.Call, name: str) -> None:
        outputs = self.checked.declaration.outputs
        self.recorded.add(name)
        written = f'"{name}"' if f'"{name}"' in self.checked.source else name
        if name not in outputs:
            allowed = ", ".join(n for n, o in outputs.items() if o.is_printed)
            self._fault(call.lineno, written, f"no output '{name}' is declared, allowed: {allowed}")
        elif not outputs[name].is_printed:
            self._fault(call.lineno, written, f"the output '{name}' is made from other ones")
        elif outputs[name].kind in ("histogram", "table") and len(call.args) < 2:
            what = f'record("{name}") counts nothing: give the value, like "$hold_ns"'
            self._fault(call.lineno, written, what)

    def _measured(self, block: nodes.Block) -> None:
        """An event's columns wait_ns and hold_ns need the block's value of that name."""
        outputs = self.checked.declaration.outputs
        for call in block.find_all(nodes.Call):
            name = call.args[0].value if call.args and isinstance(call.args[0], nodes.Const) else ""
            output = outputs.get(str(name))
            if output is None or block.name not in VALUES:
                continue
            for column in output.printed:
                if column.name in _MEASURED and column.name not in VALUES[block.name]:
                    self._unknown_value(call.lineno, column.name, block.name)

    def _params(self, tree: nodes.Template) -> None:
        declared = self.checked.declaration.params
        for used in tree.find_all(nodes.Getattr):
            is_param = isinstance(used.node, nodes.Name) and used.node.name == "params"
            if is_param and used.attr not in declared:
                allowed = ", ".join(declared) or "none"
                message = f"no parameter '{used.attr}' is declared, allowed: {allowed}"
                self._fault(used.lineno, f"params.{used.attr}", message)

    def _unrecorded(self) -> None:
        """An output that nothing fills would be reported as 'none seen' for ever."""
        maps = set(_MAP.findall(self.checked.source))
        for name, output in self.checked.declaration.outputs.items():
            filled = name in self.recorded or name in maps or self.records_any
            if output.is_printed and not filled:
                message = f'it is never recorded: no {{{{ record("{name}", ...) }}}} fills it'
                self.document.fault(("outputs", name), message)


def _pieces(block: nodes.Block) -> Iterator[tuple[int, str]]:
    """A block's text, in order, as (line, text).

    A call of owner() becomes the text 'owner()', texts given to calls are among the pieces.
    """
    for node in _in_order(block):
        if isinstance(node, nodes.TemplateData):
            yield node.lineno, node.data
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
            if node.node.name == "owner":
                yield node.lineno, "owner()"
            for argument in node.args:
                if isinstance(argument, nodes.Const) and isinstance(argument.value, str):
                    yield node.lineno, argument.value


def _in_order(node: nodes.Node) -> Iterator[nodes.Node]:
    for child in node.iter_child_nodes():
        yield child
        yield from _in_order(child)


def _blanks(comment: re.Match[str]) -> str:
    """Keeps the line numbers."""
    return "\n" * comment[0].count("\n")
