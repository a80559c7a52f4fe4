"""Renders a profile for a machine: the program that bpftrace runs, and its outputs."""

import hashlib
from dataclasses import dataclass

from jinja2 import BaseLoader, FunctionLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mmaplock_bt import resources
from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import features
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.script import check, context, header
from mmaplock_bt.script.tidy import tidy
from mmaplock_bt.spec.declaration import SUFFIX, Template
from mmaplock_bt.spec.outputs import Outputs
from mmaplock_bt.spec.profile import Profile

# For a machine that was not looked at.
NO_FACTS: dict[str, bool | str] = {
    **dict.fromkeys([*features.TRIALS, *features.FUNCTIONS], False),
    "memcg_field": "none",
    "memory_controller": "",
    "pid_namespace": False,
}
RAW_PROBE = "rawtracepoint:"
# What bpftrace counts as probes: fewer attached ones are loss.
_PROBES = ("tracepoint:", RAW_PROBE, "profile:", "BEGIN", "END")


@dataclass(frozen=True)
class Script:
    """A whole bpftrace program; `outputs` say how to read what it prints."""

    text: str
    outputs: Outputs
    probes: int
    map_keys: int

    @property
    def is_raw(self) -> bool:
        """Whether it attaches to raw tracepoints."""
        return f"\n{RAW_PROBE}" in self.text

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
    check.template(profile.template)
    check.filters(profile)
    given = context.given(profile, machine.cpus, facts, tree=tree, by_hand=by_hand)
    rendered = _rendered(profile.template, given)
    head = header.head(profile, machine, by_hand=by_hand)
    text = head + header.config(profile, facts) + tidy(rendered)
    probes = sum(line.startswith(_PROBES) for line in text.splitlines())
    return Script(text, profile.template.declaration.outputs, probes, profile.map_keys)


def _rendered(template: Template, given: dict[str, object]) -> str:
    # A user's template is code from outside: it may not leave the sandbox. A name that it misspells
    # is an error, not an empty text.
    environment = ImmutableSandboxedEnvironment(
        loader=_loader(template), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    try:
        return environment.get_template(template.name + SUFFIX).render(given)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f"{template.name}{SUFFIX}{f':{line}' if line else ''}"
        raise UsageError(f"the template {where} does not render: {error.message}") from error


def _loader(template: Template) -> BaseLoader:
    def source(name: str) -> str | None:
        if name == template.name + SUFFIX:
            return template.source
        # No path: {% include %} reads nothing outside the shipped folder.
        entry = resources.shipped("templates") / name
        return entry.read_text("utf-8") if "/" not in name and entry.is_file() else None

    return FunctionLoader(source)
