"""Profile + Target -> Script: the text that bpftrace runs and the outputs it declares."""

import hashlib
import re
from dataclasses import dataclass

from jinja2 import BaseLoader, StrictUndefined, TemplateError
from jinja2 import FunctionLoader as Loader
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mmaplock_bt import __version__, resources
from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import features
from mmaplock_bt.machine.inventory import Target, cgroup_id
from mmaplock_bt.spec.columns import Field
from mmaplock_bt.spec.declaration import SUFFIX, Output
from mmaplock_bt.spec.profile import Profile, Side

TRACER_FRAMES = 4  # frames on top of a stack that belong to the tracing itself
SUB_BUCKET_BITS = 3  # 8 linear buckets in each power of two: none is wider than 1/8 of its value
# Where none was looked up.
NO_FACTS: dict[str, bool | str] = {
    **dict.fromkeys([*features.TRIALS, *features.FUNCTIONS], False),
    "memcg_field": "none",
    "memory_controller": "",
    "pid_namespace": False,
}
CGROUP_DEPTH = 12  # levels that a cgroup filter looks up from a process
HEADER_COLUMNS = 96  # behind " * "
RAW_PROBE = "rawtracepoint:"
RESERVED = {
    *("on", "named", "tree", "acting", "waiting", "holding", "whose", "thread", "told"),
    *("running", "holder", "elsewhere"),
    *("name", "open", "close"),
}


@dataclass(frozen=True)
class Script:
    """`text` is a whole bpftrace program; `outputs` say how to read what it prints."""

    text: str
    outputs: dict[str, Output]
    probes: int
    map_keys: int

    @property
    def is_raw(self) -> bool:
        """Whether it attaches to raw tracepoints."""
        return f"\n{RAW_PROBE}" in self.text

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def render(profile: Profile, target: Target, *, tree: bool = False) -> Script:
    """Raises UsageError when the template does not render. `tree` traces $3 and its descendants."""
    outputs = profile.template.declaration.outputs
    facts = NO_FACTS | target.facts
    _check(profile)
    writer = _Writer(outputs, profile.params, facts)
    environment = ImmutableSandboxedEnvironment(
        loader=_loader(profile), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    context = {
        "record": writer.record,
        "quote": quote,
        "params": profile.params,
        "filter": profile.filter,
        "tree": tree or profile.filter.owner.descendants,
        "actors": profile.filter.actor.descendants,
        "opens": any(output.open for output in outputs.values()),
        "polled": writer.polled,
        "in_cgroup": {
            side: cgroup_id(path) if path else 0
            for side, path in (
                ("owner", profile.filter.owner.cgroup),
                ("actor", profile.filter.actor.cgroup),
            )
        },
        "pid": writer.pid,
        "tid": writer.tid,
        "css": writer.css,
        "css_id": css_id,
        "DEPTH": CGROUP_DEPTH,
        "say_whose": writer.say_whose,
        "say_thread": writer.say_thread,
        "say_holder": writer.say_holder,
        "cpus": target.cpus,
        "facts": facts,
        "names": writer.learns_names,
    }
    try:
        rendered = environment.get_template(profile.template.name + SUFFIX).render(context)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f"{profile.template.name}{SUFFIX}{f':{line}' if line else ''}"
        raise UsageError(f"the template {where} does not render: {error.message}") from error
    text = _header(profile, target) + _config(profile, facts) + _laid_out(rendered)
    return Script(text, outputs, _probes(text), profile.map_keys)


def quote(text: str) -> str:
    """The one door for text into a script: a bpftrace string literal, or UsageError."""
    if not text.isprintable() or not text.isascii() or '"' in text or "\\" in text:
        raise UsageError(
            f"{text!r} cannot be quoted in a script: printable ASCII, no quotes, no \\"
        )
    return f'"{text}"'


class _Writer:
    """Renders the statements that fill an output, from its declaration."""

    def __init__(
        self, outputs: dict[str, Output], params: dict[str, int], facts: dict[str, bool | str]
    ) -> None:
        self.outputs = outputs
        self.params = params
        # In a PID namespace the builtins count from its own root from 0.23 on, owners never do.
        task = "(uint64)((struct task_struct *)curtask)->"
        self.pid = f"{task}tgid" if facts["pid_namespace"] else "(uint64)pid"
        self.tid = f"{task}pid" if facts["pid_namespace"] else "(uint64)tid"
        self.memory_controller = str(facts["memory_controller"])
        # Addresses only, see symbols. Without raw mode the runner's environment says so.
        self.user_stack = "ustack(raw, {})" if facts["ustack_raw"] else "ustack({})"
        self.learns_names = any(
            f.name in ("owner_pid", "pid")
            for o in outputs.values()
            if o.kind != "events" and o.is_printed
            for f in o.columns
        )

    @property
    def polled(self) -> dict[str, int] | None:
        """Of the spans that are looked for while they last: from which age, how often (ms)."""
        for output in self.outputs.values():
            if output.open is not None and output.open.every is not None:
                every_ms = max(1, self.params[output.open.every] // 10**6)
                return {"older_ns": self.params[output.open.older], "every_ms": every_ms}
        return None

    def css(self, task: str) -> str:
        """A task's place in the hierarchy that has the memory controller; without one in v2's.

        A cgroup begins with its own css (include/linux/cgroup-defs.h): the cast is sound.
        """
        groups = f"((struct css_set *){task}->cgroups)"
        if self.memory_controller:
            return f"(struct cgroup_subsys_state *){groups}->subsys[{self.memory_controller}]"
        return f"(struct cgroup_subsys_state *){groups}->dfl_cgrp"

    def cgroup_id(self, task: str) -> str:
        """The inode number of the cgroup's directory; kernfs ids are inode numbers on 64 bits."""
        return css_id(f"({self.css(task)})")

    def say_whose(self) -> str:
        return (
            f'printf("whose|%llx|%llu|%llu|%llu|%rx\\n", $mm, $owner_pid, $owner_kind, '
            f"{self.cgroup_id('$whose')}, buf($whose->comm, 16));"
        )

    def say_thread(self) -> str:
        return (
            f'printf("thread|%llu|%llu|%llu|%rx\\n", $tid, {self.pid}, $actor_kind, buf(comm, 16));'
        )

    def say_holder(self) -> str:
        return (
            'printf("holder|%llx|%llu|%llu|%llu|%llu|%rx\\n", $mm, $now, $word & 1, '
            "(uint64)$holder->pid, (uint64)$holder->tgid, buf($holder->comm, 16));"
        )

    def record(self, name: str, value: str = "") -> str:
        """bpftrace statements that add one observation to the output `name`."""
        if name not in self.outputs:
            raise UsageError(f'record("{name}"): the template declares no such output')
        output = self.outputs[name]
        if not output.is_printed:
            raise UsageError(f'record("{name}"): this output is made from other ones')
        if output.kind == "events":
            return self._event(name, output)
        lines = self._names(output)
        keys = [self._expression(f) for f in output.columns]
        joined = ", ".join(keys) or "(uint64)0"
        if value and output.kind != "counter":
            lines.append(f"@{name}_sum[{joined}] = sum({value});")
            lines.append(f"@{name}_max[{joined}] = max({value});")
        if output.kind == "histogram":  # last: each of its paths runs through all that follows
            lines += [_bucket(value), f"@{name}[{', '.join([*keys, '$lower'])}] = count();"]
        else:
            lines.append(f"@{name}[{joined}] = count();")
        return "\n".join(lines)

    def _names(self, output: Output) -> list[str]:
        """Learns name and cgroup of a pid once; names in keys could not be split from the rest."""
        sides = {
            "owner_pid": ("$owner_pid", "$whose", "$whose->comm", " && (uint64)$whose != 0"),
            "pid": (self.pid, "((struct task_struct *)curtask)", "comm", ""),
        }
        lines = []
        for column in output.columns:
            if column.name in sides:
                key, task, comm, guard = sides[column.name]
                lines += [
                    f"if (@named[{key}] == 0{guard}) {{",
                    f"  @named[{key}] = (uint64)1;",
                    f'  printf("name|%llu|%llu|%rx\\n", {key}, {self.cgroup_id(task)}, '
                    f"buf({comm}, 16));",
                    "}",
                ]
        return lines

    def _event(self, name: str, output: Output) -> str:
        formats: list[str] = []
        arguments: list[str] = []
        for field in output.printed:
            if field.is_stack and self._depth(field) == 0:
                formats.append("")
                continue
            formats.append(_FORMATS[field.type])
            arguments.append(self._expression(field))
        return f'printf("{"|".join([name, *formats])}\\n", {", ".join(arguments)});'

    def _expression(self, field: Field) -> str:
        if field.name == "pid":
            return self.pid
        if field.type == "cgroup":
            return self.cgroup_id("$whose")
        if not field.is_stack:
            return field.expression
        depth = self._depth(field)
        if field.type == "kernel_stack":
            return f"kstack({depth + TRACER_FRAMES})"
        return self.user_stack.format(depth)

    def _depth(self, field: Field) -> int:
        return self.params.get(field.name, 16)


_FORMATS = {
    "int": "%llu",
    "enum": "%llu",
    "hex": "%llx",
    "text": "%rx",
    "cgroup": "%llu",
    "kernel_stack": "%s",
    "user_stack": "%s",
}


def css_id(css: str) -> str:
    return f"(uint64)((struct kernfs_node *)((struct cgroup *){css}->cgroup)->kn)->id"


def _bucket(value: str) -> str:
    """$lower: the value with all but its leading bits cleared, the bucket's inclusive lower end.

    Done here and not by hist(), which up to bpftrace 0.19 keeps 32 bits and has no sub-buckets.
    """
    lines = [f"$rest = {value};", "$shift = (uint64)0;"]
    for bits in (32, 16, 8, 4, 2):
        step = f"$rest = $rest >> {bits}; $shift = $shift + {bits};"
        lines.append(f"if ($rest >= {1 << bits}) {{ {step} }}")
    lines.append("if ($rest >= 2) { $shift = $shift + 1; }")
    fewer = f"$shift = $shift - {SUB_BUCKET_BITS};"
    lines.append(f"if ($shift > {SUB_BUCKET_BITS}) {{ {fewer} }} else {{ $shift = (uint64)0; }}")
    lines.append(f"$lower = ({value} >> $shift) << $shift;")
    return "\n".join(lines)


def _loader(profile: Profile) -> BaseLoader:
    def source(name: str) -> str | None:
        if name == profile.template.name + SUFFIX:
            return profile.template.source
        entry = resources.shipped("templates") / name
        return entry.read_text("utf-8") if "/" not in name and entry.is_file() else None

    return Loader(source)


def _check(profile: Profile) -> None:
    declaration = profile.template.declaration
    clash = RESERVED & set(declaration.outputs)
    if clash:
        raise UsageError(f"the output name '{clash.pop()}' is taken by the base template")
    given = {
        "owner": profile.filter.owner != Side(),
        "actor": profile.filter.actor != Side(),
        "mode": profile.filter.mode,
    }
    for name, value in given.items():
        if value and name not in declaration.filters:
            raise UsageError(
                f"{profile.template.name} needs both sides of the lock: it takes no {name} filter "
                f"(allowed: {', '.join(declaration.filters)})"
            )


def _probes(text: str) -> int:
    kinds = ("tracepoint:", RAW_PROBE, "profile:", "BEGIN", "END")
    return sum(line.startswith(kinds) for line in text.splitlines())


def _laid_out(rendered: str) -> str:
    """Two blanks for each open brace, one blank line before each probe: blocks nest freely."""
    lines: list[str] = []
    depth = 0
    for line in filter(None, (raw.strip() for raw in rendered.splitlines())):
        code = line.split("//")[0]
        opened, closed = code.count("{"), code.count("}")
        leading = len(code) - len(code.lstrip("}"))
        if depth == 0 and (not lines or lines[-1] == "}"):
            lines.append("")
        lines.append("  " * (depth - leading) + line)
        depth += opened - closed
    return "\n".join(lines) + "\n"


def _config(profile: Profile, facts: dict[str, bool | str]) -> str:
    """A script that is run by hand brings its map size along where bpftrace can read it."""
    return f"\nconfig = {{ max_map_keys = {profile.map_keys} }}\n" if facts["config_block"] else ""


def _usage(profile: Profile, target: Target) -> list[str]:
    lines = [f"USAGE: sh -c 'exec bpftrace {profile.template.name}.bt $$'     (Ctrl-C ends it)"]
    if not target.facts.get("config_block"):
        names = ("BPFTRACE_MAP_KEYS_MAX", "BPFTRACE_MAX_MAP_KEYS")  # up to 0.19, from 0.20
        lines.append(f"  after export {' '.join(f'{n}={profile.map_keys}' for n in names)}")
    return lines


def _header(profile: Profile, target: Target) -> str:
    declaration = profile.template.declaration
    facts = ", ".join(f"{k}={v}" for k, v in sorted(target.facts.items())) or "none looked up"
    settings = ", ".join(f"{k}={v}" for k, v in profile.params.items()) or "none"
    lines = [
        f"{profile.name}  {' '.join(profile.description.split())}",
        "",
        *_usage(profile, target),
        "",
        f"Rendered by mmaplock-bt {__version__} for Linux {target.kernel} {target.arch}, "
        f"bpftrace {target.bpftrace}.",
        f"Facts: {facts}.",
        f"Parameters (durations in ns): {settings}.",
        f"Filter: {profile.filter.model_dump_json(exclude_defaults=True)}.",
        f"Maps: {profile.map_keys} keys each (map_keys in the profile).",
        "",
        "Output (mode 0 is read, 1 is write):",
        *(f"  {_legend(n, o)}" for n, o in declaration.outputs.items() if o.is_printed),
        "  @book_*  the books: starts + downgrades = acquires + failed + open waits,",
        "           acquires - releases - downgrades = open holds",
    ]
    wrapped = [part for line in lines for part in _wrapped(line)]
    body = "\n".join(f" * {line}".rstrip() for line in wrapped).replace("*/", "* /")
    return f"#!/usr/bin/env bpftrace\n/*\n{body}\n */\n"


def _wrapped(line: str) -> list[str]:
    """In few columns: parted at blanks and behind the bars between a record's fields."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    lines = [""]
    for word in re.findall(r"\s*[^\s|]*\|?", line):
        if lines[-1].strip() and len(lines[-1] + word) > HEADER_COLUMNS:
            lines.append(indent + word.lstrip())
        else:
            lines[-1] += word
    return lines


def _legend(name: str, output: Output) -> str:
    columns = ", ".join(f.name for f in output.printed)
    if output.kind == "events":
        return f"{name}|{columns.replace(', ', '|')}: {output.title}"
    if output.kind == "histogram":
        return f"@{name}[{columns}, bucket's lower end]: {output.title}, {output.unit}"
    return (
        f"@{name}[{columns}]: {output.title}, count; @{name}_sum and @{name}_max in {output.unit}"
    )
