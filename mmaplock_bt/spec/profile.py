"""Profiles: YAML resolved to a template with its parameters, filters and gates."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, field_validator, model_validator

from mmaplock_bt import resources
from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import SHOWN, shown
from mmaplock_bt.spec import budget, declaration, gates, located_yaml, plain_yaml, user_file
from mmaplock_bt.spec.budget import GateItem
from mmaplock_bt.spec.declaration import Locks, ParamValue, Template
from mmaplock_bt.spec.gates import Gate
from mmaplock_bt.spec.outputs import Strict, with_keys
from mmaplock_bt.spec.plain_yaml import Document, Faults
from mmaplock_bt.units import parse_duration, parse_sample, parse_share

SUFFIX = ".yaml"
Mode = Literal["read", "write"]
COMM_BYTES = 15  # TASK_COMM_LEN less its NUL
MAP_KEYS = 16384  # per map; bpftrace's own default is 4096
# Every map is preallocated: hold-times took 360 MiB for 256 Ki keys on 2 CPUs.
MAP_KEYS_RANGE = range(16, 4 * 1024 * 1024 + 1)


SEVERAL = 16  # of one kind in a filter: each is one more comparison for every lock


def _one_or_more(check: Callable[[Any], Any], schema: dict[str, Any]) -> Any:
    """The marks of a key that takes a value or a list of them, kept as a value or a tuple."""

    def checked(value: Any) -> Any:
        if value is None:
            return None
        given = value if isinstance(value, list | tuple) else [value]
        found = tuple(dict.fromkeys(map(check, given)))
        if not 0 < len(found) <= SEVERAL:
            raise ValueError(f"{len(found)} given: a filter takes 1 to {SEVERAL} of a kind")
        return found if len(found) > 1 else found[0]

    several = {"type": "array", "items": schema, "maxItems": SEVERAL}
    shape: Any = {"anyOf": [schema, several, {"type": "null"}]}
    return PlainValidator(checked), WithJsonSchema(shape)


def _pid(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"a pid is a number, not {value!r:.40}")
    if not 0 < value < 2**31:
        raise ValueError("a pid is above 0 and below 2,147,483,648")
    return value


def _comm(value: Any) -> str:
    """A name may be a number in YAML."""
    comm = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(comm, str) or not 0 < len(comm.encode()) <= COMM_BYTES:
        raise ValueError(f"the kernel keeps 1 to {COMM_BYTES} bytes of a name")
    return comm


def _path(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a cgroup is a path, not {value!r:.40}")
    return value


_NUMBER, _WORDS = {"type": "integer"}, {"type": "string"}
Pids = Annotated[Any, *_one_or_more(_pid, _NUMBER)]
Comms = Annotated[Any, *_one_or_more(_comm, _WORDS)]
Paths = Annotated[Any, *_one_or_more(_path, _WORDS)]


class Side(Strict):
    """A filter on one side of a lock: processes, names, cgroups with those below them.

    Of several of a kind any is meant, of several kinds all are. With `descendants`, what the
    processes fork and have forked counts as well.
    """

    pid: Pids = Field(None, description="a process, or a list of them")
    comm: Comms = Field(None, description="the name of a process, at most 15 bytes, or a list")
    cgroup: Paths = Field(
        None, description="the path of a memory cgroup, or a list; those below count"
    )
    descendants: bool = Field(False, description="with pid: what it forks, too")

    @model_validator(mode="after")
    def _whose(self) -> "Side":
        if self.descendants and self.pid is None:
            raise ValueError("descendants of which process? give its pid")
        return self

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes, however many."""
        found: tuple[int, ...] = _all(self.pid)
        return found

    @property
    def comms(self) -> tuple[str, ...]:
        """The names, however many."""
        found: tuple[str, ...] = _all(self.comm)
        return found

    @property
    def cgroups(self) -> tuple[str, ...]:
        """The cgroups' paths, however many."""
        found: tuple[str, ...] = _all(self.cgroup)
        return found


def _all(value: Any) -> Any:
    return () if value is None else value if isinstance(value, tuple) else (value,)


class Filter(Strict):
    """What is traced: whose address space (owner), who takes the lock (actor), which mode."""

    owner: Side = Field(Side(), description="whose address space")
    actor: Side = Field(Side(), description="who takes the lock")
    mode: Mode | None = Field(None, description="how it is taken")


class ProfileFile(Strict):
    """A profile file's shape; `schema profile` prints it as JSON Schema."""

    extends: str | None = Field(None, description="a profile by name or path, changed by this one")
    template: str | None = Field(None, description="a shipped template's name, or ./FILE.bt.j2")
    description: str = Field("", description="one line for `list`")
    duration: str | None = Field(None, description="length of the window, like 10s")
    filter: Filter = Field(Filter(), description="what is traced")
    params: dict[str, ParamValue] = Field({}, description="the template's parameters")
    gates: list[GateItem] = Field([], description="conditions on the result")
    map_keys: int | None = Field(None, description="room in every map of the script")
    locks: Locks | None = Field(
        None, description="which are followed: all, or only those that somebody waits for"
    )
    sample: str | None = Field(None, description="follow one lock in N, written 1/N")
    max_overhead: str | None = Field(
        None, description="the share of the machine's CPU time that tracing may take, like 2%"
    )

    @field_validator("max_overhead", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        """A number without its % gets the sentence of one."""
        return str(value) if isinstance(value, int | float) else value

    @field_validator("map_keys")
    @classmethod
    def _sized(cls, keys: int | None) -> int | None:
        if keys is not None and keys not in MAP_KEYS_RANGE:
            raise ValueError(f"a map holds {MAP_KEYS_RANGE[0]} to {MAP_KEYS_RANGE[-1]} keys")
        return keys


@dataclass(frozen=True)
class Profile:
    """A resolved profile: `params` are integers (durations in ns, sizes in bytes).

    A `duration_ns` of None means until Ctrl-C. `locks` of None: as its template has it. Of
    `sample` locks one is followed.
    """

    name: str
    template: Template
    description: str = ""
    duration_ns: int | None = None
    filter: Filter = field(default_factory=Filter)
    params: dict[str, int] = field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    map_keys: int = MAP_KEYS
    locks: Locks | None = None
    sample: int = 1
    max_overhead_ppm: int | None = None

    @property
    def keeps_overhead(self) -> bool:
        """Whether the script is to follow as many locks as its limit allows."""
        return self.max_overhead_ppm is not None and self.template.declaration.samples


def names() -> list[str]:
    """Returns the names of the shipped profiles, then of the user's."""
    return [*resources.shipped_names("profiles", SUFFIX), *_user_names()]


def load(name: str) -> Profile:
    """Reads a profile by shipped name, by path, or by name in the user's configuration folder.

    Raises UsageError that lists every fault as file:line:column.
    """
    return _resolve(*_find(name), seen=())


def with_params(profile: Profile, settings: list[str]) -> Profile:
    """Returns the profile with settings like 'threshold=5ms' applied. Raises UsageError."""
    params: dict[str, int] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {shown(setting)}: expected NAME=VALUE")
        if key in params:
            raise UsageError(f"--set {shown(setting)}: {key} is set twice")
        try:
            params[key] = _param(profile.template, key, value)
        except UsageError as error:
            raise UsageError(f"--set {shown(setting)}: {error}") from error
    return replace(profile, params=profile.params | params)


def _find(name: str) -> tuple[str, str, Path | None]:
    """(name, text, folder) of a profile; the folder is None for a shipped one."""
    if "/" in name or name.endswith((SUFFIX, ".yml")):
        return name, user_file.read(Path(name), "profile", obeyed=True), Path(name).parent
    if name in resources.shipped_names("profiles", SUFFIX):
        return name, (resources.shipped("profiles") / (name + SUFFIX)).read_text("utf-8"), None
    folder = resources.user_profiles()
    if folder and resources.is_file(mine := folder / (name + SUFFIX)):
        return str(mine), user_file.read(mine, "profile", obeyed=True), folder
    known = [shown(one) for one in names()]
    close = difflib.get_close_matches(name[:SHOWN], known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
    wanted = shown(name)
    raise UsageError(f"unknown profile '{wanted}': {hint} (a file needs a path, ./{wanted}.yaml)")


def _user_names() -> list[str]:
    folder = resources.user_profiles()
    return sorted(path.stem for path in folder.glob(f"*{SUFFIX}")) if folder else []


def _resolve(name: str, text: str, folder: Path | None, seen: tuple[str, ...]) -> Profile:
    source = plain_yaml.load(text, name if folder else f"profiles/{name}{SUFFIX}")
    file = located_yaml.check(source, ProfileFile)
    if file is None:
        source.raise_faults()
        raise AssertionError("a fault without a sentence")
    base = _base(file, source, name, folder, seen)
    if base is None:
        _check_without_base(file, source)
        source.raise_faults()
        raise AssertionError("no base and no fault")
    profile = replace(
        base,
        name=Path(name).stem,
        description=file.description or base.description,
        duration_ns=_duration(file, source) or base.duration_ns,
        filter=merge(base.filter, file.filter.model_dump(exclude_unset=True)),
        params=base.params | _params(file, source, base.template),
        gates=base.gates + budget.gates_of(file.gates, source, base.template.declaration.outputs),
        map_keys=file.map_keys or base.map_keys,
        locks=file.locks or base.locks,
        sample=_sample(file, source) or base.sample,
        max_overhead_ppm=_max_overhead(file, source) or base.max_overhead_ppm,
    )
    source.raise_faults()
    return profile


def _base(
    file: ProfileFile,
    source: Document,
    name: str,
    folder: Path | None,
    seen: tuple[str, ...],
) -> Profile | None:
    """The extended profile, or a bare one of the named template."""
    if (file.extends is None) == (file.template is None):
        source.fault((), "give `extends: PROFILE` or `template: NAME`, one of the two")
        return None
    try:
        if file.template is not None:
            found = declaration.load(file.template, folder)
            defaults = {k: p.parse(p.default) for k, p in found.declaration.params.items()}
            return Profile(name, found, found.declaration.question, params=defaults)
        extends = str(file.extends)
        # Not by Path, which takes './x' for 'x': a name is looked for elsewhere.
        is_beside = "/" in extends and not extends.startswith("/")
        path = f"{folder or '.'}/{extends}" if is_beside else extends
        if path in seen or len(seen) > 8:
            raise UsageError(f"'{shown(path)}' extends itself")
        return _resolve(*_find(path), seen=(*seen, path))
    except Faults as faults:
        source.others += faults.sentences
    except UsageError as error:
        source.fault(("template" if file.template else "extends",), str(error))
    return None


def _check_without_base(file: ProfileFile, source: Document) -> None:
    """Notes the faults that can be told where `extends` or `template` is wrong."""
    _duration(file, source)
    _sample(file, source)
    _max_overhead(file, source)
    budget.check_syntax(file.gates, source)


def _duration(file: ProfileFile, source: Document) -> int | None:
    return _parsed("duration", file.duration, parse_duration, source)


def _sample(file: ProfileFile, source: Document) -> int | None:
    return _parsed("sample", file.sample, parse_sample, source)


def _max_overhead(file: ProfileFile, source: Document) -> int | None:
    return _parsed("max_overhead", file.max_overhead, parse_share, source)


def _parsed(
    key: str, text: str | None, parse: Callable[[str], int], source: Document
) -> int | None:
    """A key's value; None, and a fault noted, where it cannot be read."""
    try:
        return None if text is None else parse(text)
    except UsageError as error:
        source.fault((key,), str(error))
        return None


def _params(file: ProfileFile, source: Document, used: Template) -> dict[str, int]:
    params: dict[str, int] = {}
    for key, value in file.params.items():
        try:
            params[key] = _param(used, key, value)
        except UsageError as error:
            source.fault(("params", key), str(error))
    return params


def _param(used: Template, key: str, value: int | str) -> int:
    declared = used.declaration.params
    if key not in declared:
        allowed = ", ".join(declared) or "none"
        raise UsageError(f"unknown parameter '{shown(key)}', allowed: {allowed}")
    return declared[key].parse(value)


def with_gates(profile: Profile, more: tuple[Gate, ...] = ()) -> Profile:
    """Returns the profile with further gates, its outputs split by every key that a gate names.

    Raises UsageError for a gate on what the filter leaves out.
    """
    wanted = profile.gates + more
    for gate in wanted:
        mode = dict(gate.metric.where).get("mode", profile.filter.mode)
        if profile.filter.mode not in (None, mode):
            raise UsageError(
                f"the gate '{shown(gate.text)}' looks at mode {mode}, but the filter keeps "
                f"{profile.filter.mode} only: it would never see a sample"
            )
    return replace(profile, gates=wanted, template=_with_keys(profile.template, wanted))


def _with_keys(used: Template, wanted: tuple[Gate, ...]) -> Template:
    outputs = used.declaration.outputs
    for gate in wanted:
        name = gate.metric.output
        if keys := gates.demanded(gate.metric, outputs):
            outputs = outputs | {name: with_keys(outputs[name], keys)}
    return replace(used, declaration=used.declaration.model_copy(update={"outputs": outputs}))


def merge(base: Filter, given: dict[str, Any]) -> Filter:
    """Returns the filter with the given values over it; None counts as not given.

    Raises pydantic.ValidationError.
    """
    merged = base.model_dump()
    for side in ("owner", "actor"):
        merged[side] |= {k: v for k, v in given.get(side, {}).items() if v is not None}
    if given.get("mode") is not None:
        merged["mode"] = given["mode"]
    return Filter.model_validate(merged)
