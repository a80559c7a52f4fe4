"""Renders a profile for a machine: the program that bpftrace runs, and its outputs."""

import codecs
import hashlib
import re
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import shown
from mmaplock_bt.machine import features
from mmaplock_bt.machine.inventory import TRACEFS_ENGINE, Machine
from mmaplock_bt.script import check, context, header, jail, plan
from mmaplock_bt.script.plan import Plan
from mmaplock_bt.script.sandbox import PlainEnvironment
from mmaplock_bt.script.tidy import tidy
from mmaplock_bt.spec.declaration import SUFFIX, Locks, Template
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.spec.profile import Filter, Profile, Side
from mmaplock_bt.stream.records import BOOK

# For a machine that was not looked at.
NO_FACTS: dict[str, bool | str] = {
    **dict.fromkeys([*features.TRIALS, *features.FUNCTIONS], False),
    "memcg_field": "none",
    "memory_controller": "",
    "mmap_lock_offset": "",
    "user_registers": "",
    "registers_at": "",
    "contention": False,
    "contended_release": False,
    "pid_namespace": False,
}
RAW_PROBE = "rawtracepoint:"
# What bpftrace counts as probes: fewer attached ones are loss.
# Bounded: in a text of brackets that never close each would be looked for to the end.
_COUNTED = re.compile(r"@(\w{1,64})(?:\[[^\]]{0,999}\])? = ")
_PROBES = ("tracepoint:", RAW_PROBE, "profile:", "interval:", "software:", "BEGIN", "END")


@dataclass(frozen=True)
class Script:
    """A whole bpftrace program; `outputs` say how to read what it prints."""

    text: str
    outputs: Outputs
    probes: int
    map_keys: int
    locks: Locks = "all"
    sample: int = 1
    plan: Plan | None = None  # for the tracefs engine: then `text` is no program, but its blocks

    @property
    def is_raw(self) -> bool:
        """Whether it attaches to raw tracepoints."""
        return f"\n{RAW_PROBE}" in self.text

    @property
    def books(self) -> list[str]:
        """What is counted, by its name in the books."""
        if self.plan is not None:
            return sorted(self.plan.books)
        spans = {"waiting": "open_waits"}
        if self.locks == "all":  # else only holds of those that had waited are known
            spans["holding"] = "open_holds"
        maps = set(_COUNTED.findall(self.text))
        counted = [name.removeprefix(BOOK) for name in maps if name.startswith(BOOK)]
        return sorted([*counted, *(name for map_, name in spans.items() if map_ in maps)])

    @property
    def sha256(self) -> str:
        """The text's checksum, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def render(
    profile: Profile, machine: Machine, *, tree: bool = False, by_hand: bool = False
) -> Script:
    """Renders the profile's template for this machine.

    With `tree` only $3 and its descendants are traced. `by_hand` is for a person who runs bpftrace
    alone: lines are words, keys have names; else stream/records reads the output. Raises UsageError
    for a template that is wrong or does not render.
    """
    facts = NO_FACTS | machine.facts
    check.filters(profile)
    check.following(profile)
    if facts.get("engine") == TRACEFS_ENGINE:
        return _planned(profile, machine, facts, tree=tree)
    profile = replace(profile, locks=followed(profile, facts))
    given = context.given(profile, machine.cpus, facts, tree=tree, by_hand=by_hand)
    head = header.head(profile, machine, by_hand=by_hand)
    text = head + header.config(profile, facts) + _body(profile.template, given)
    probes = sum(line.startswith(_PROBES) for line in text.splitlines())
    outputs = profile.template.declaration.outputs
    locks = profile.locks or "all"
    sample = 1 if given["live"] else profile.sample  # live, the script itself weighs what it counts
    return Script(text, outputs, probes, profile.map_keys, locks, sample)


def _planned(
    profile: Profile, machine: Machine, facts: dict[str, bool | str], *, tree: bool
) -> Script:
    """The blocks alone, in a text, and the plan. Raises TargetError for what is not served."""
    plan.check(profile, facts["memcg_field"])
    followed = replace(profile, locks="all", filter=Filter())
    given = context.given(followed, machine.cpus, facts, tree=False, by_hand=False)
    text = _body(profile.template, given, check.BY_TRACEFS)
    outputs = profile.template.declaration.outputs
    columns = {n: given["printed"](n)["columns"] for n, o in outputs.items() if o.is_printed}
    made = plan.made(profile, text, columns, tree=tree)
    return Script(text, outputs, made.events, profile.map_keys, plan=made)


def followed(profile: Profile, facts: dict[str, bool | str]) -> Locks:
    """Returns which locks are followed: only contended ones where that is wanted and can be.

    It needs lock:contention_begin (Linux 5.19), a readable rwsem, and every wait and hold of an
    address space: with a filter on the actor or the mode all locks are followed.
    """
    wanted = profile.locks or profile.template.declaration.locks[0]
    if profile.gates and profile.locks is None:
        return "all"  # contended ones alone do not tell whether anybody took a lock at all
    needed = (facts.get("contention"), facts.get("mmap_lock_offset"), facts.get("rwsem_owner"))
    sees_both = profile.filter.actor == Side() and profile.filter.mode is None
    return "contended" if wanted == "contended" and all(needed) and sees_both else "all"


def _body(template: Template, given: dict[str, Any], base: str = check.BASE) -> str:
    """A user's template is code from outside: it is parsed, rendered and tidied in the jail."""
    environment = PlainEnvironment(template, base)
    if template.is_shipped:
        return _rendered(template, environment, given)
    _read_ahead(environment)
    named = f"the template {_name(template)}"
    return jail.confined(lambda: _rendered(template, environment, given), named)


def _read_ahead(environment: PlainEnvironment) -> None:
    """All that rendering reads: the jail opens no file."""
    check.read_base()
    for part in check.PARTS:
        environment.get_template(part + SUFFIX)
    environment.bytecode_cache = None
    codecs.lookup("unicode-escape")  # of texts in a template
    import_module("jinja2.debug")  # of errors


def _rendered(template: Template, environment: PlainEnvironment, given: dict[str, Any]) -> str:
    try:
        check.template(template)
        return tidy(environment.get_template(environment.own).render(given))
    except (UsageError, MemoryError, RecursionError):
        raise
    except Exception as error:  # of Jinja, or of what the template computes
        said = _sentence(error)
        where = f"{_name(template)}{_line(error, environment.own)}"
        raise UsageError(f"the template {where} does not render: {shown(said, 200)}") from error


def _name(template: Template) -> str:
    return shown(f"{template.name}{SUFFIX}")


def _sentence(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        parts = ", ".join(part + SUFFIX for part in check.PARTS)
        return f"no template '{shown(error.name)}' is given to it, only {parts}"
    if isinstance(error, TemplateError):
        return str(error.message)
    if isinstance(error, SyntaxError):  # of what Jinja made of it: its lines are not the template's
        return str(error.msg)
    return f"{type(error).__name__}: {error}"


def _line(error: BaseException, own: str) -> str:
    """The last line of the template on the way to an error, as ':LINE'."""
    found = error.lineno if isinstance(error, TemplateSyntaxError) else None
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == own:
            found = step.tb_lineno
        step = step.tb_next
    return f":{found}" if found else ""
