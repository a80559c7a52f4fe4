"""What the agent is told: a YAML file, every key of which has a default."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator, field_validator

from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import located_yaml, plain_yaml, user_file
from mmaplock_bt.spec.outputs import Strict
from mmaplock_bt.spec.profile import COMM_BYTES
from mmaplock_bt.units import parse_duration, parse_share, parse_size

LISTEN = "127.0.0.1:9435"
MS, S = 10**6, 10**9
MOST_PATH_BYTES = 512
MOST_NAMES = 50  # each may come with every cause and both modes
LONGEST_NS = 24 * 3600 * S


def _read(parse: Callable[[str], int], low: int, high: int, wanted: str) -> Any:
    """The marks of a key whose text `parse` reads as a number between two ends."""

    def checked(value: Any) -> int:
        try:
            found = parse(str(value)) if isinstance(value, int | str) else -1
        except UsageError as error:
            raise ValueError(str(error)) from error
        if isinstance(value, bool) or not low <= found <= high:
            raise ValueError(f"expected {wanted}")
        return found

    return PlainValidator(checked)


def _whole(low: int, high: int) -> Any:
    return Field(ge=low, le=high)


Duration = Annotated[int, _read(parse_duration, MS, LONGEST_NS, "a time from 1ms to 24h")]
Short = Annotated[int, _read(parse_duration, 10**3, S, "a time from 1us to 1s")]
Size = Annotated[int, _read(parse_size, 64 << 20, 1 << 40, "a size from 64MiB on")]
Share = Annotated[int, _read(parse_share, 1, 10**6, "a share of one CPU, like 5%")]


class Culprits(Strict):
    """Which processes' names become labels; all others are `other`."""

    names: list[str] = Field([], description="always these")
    top: Annotated[int, _whole(0, MOST_NAMES)] = Field(
        10, description="and so many of those that were waited for longest"
    )

    @field_validator("names")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        wrong = [name for name in names if not 0 < len(name.encode()) <= COMM_BYTES]
        if wrong:
            raise ValueError(f"the kernel keeps 1 to {COMM_BYTES} bytes of a name")
        if len(names) > MOST_NAMES:
            raise ValueError(f"at most {MOST_NAMES} names")
        return names


class Limits(Strict):
    """What the agent and its bpftrace may take together."""

    memory: Size = Field(400 << 20, description="resident; above it tracing pauses")
    cpu: Share = Field(50_000, description="of one CPU; above it less is recorded, then nothing")
    events: Annotated[int, _whole(1, 10**6)] = Field(
        2000, description="waits and holds that are recorded in a second"
    )


class Pause(Strict):
    """How long tracing rests after it had to stop: each time twice as long."""

    first: Duration = Field(2 * S, description="the first one")
    longest: Duration = Field(600 * S, description="none is longer")


class Trap(Strict):
    """When a profile is captured, and how much all captures may take."""

    folder: str = Field(description="where each capture gets a folder")
    wait: Duration | None = Field(S, description="a wait of this length springs it; null: none")
    hold: Duration | None = Field(S, description="a hold that others wait for does; null: none")
    profile: str = Field("blame", description="what is captured")
    length: Duration = Field(10 * S, description="for so long")
    captures: Annotated[int, _whole(1, 10_000)] = Field(
        20, description="folders that may be there; then it captures no more"
    )
    disk: Size = Field(256 << 20, description="bytes that they may take; then likewise")
    pause: Duration = Field(600 * S, description="between the beginnings of two captures")


class Textfile(Strict):
    """A file that node_exporter's textfile collector reads."""

    path: str = Field(description="in the collector's folder, ending in .prom")
    every: Duration = Field(15 * S, description="how often it is written")

    @field_validator("path")
    @classmethod
    def _read_by_it(cls, path: str) -> str:
        if not path.endswith(".prom") or not path.startswith("/"):
            raise ValueError("expected a whole path that ends in .prom")
        return path


class Otlp(Strict):
    """An OTLP receiver, by HTTP with protobuf."""

    url: str = Field(description="whole, like http://127.0.0.1:4318/v1/metrics")
    every: Duration = Field(15 * S, description="how often it is sent to")

    @field_validator("url")
    @classmethod
    def _by_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")) or not url.isprintable() or " " in url:
            raise ValueError("expected a URL that begins with http:// or https://")
        return url


class Config(Strict):
    """The file's shape."""

    listen: str = Field(LISTEN, description="address and port of /metrics")
    threshold: Short = Field(MS, description="shortest wait that is charged to holds")
    behind: Short = Field(100_000, description="shortest hold that a wait can be charged to")
    culprits: Culprits = Field(Culprits(), description="names of processes as labels")
    cgroups: list[str] = Field([], description="of victims, as labels; all others are one")
    limits: Limits = Field(Limits(), description="what tracing may take")
    pause: Pause = Field(Pause(), description="the rest after trouble")
    trap: Trap | None = Field(None, description="captures what happens once a week (none)")
    textfile: Textfile | None = Field(None, description="a file with the metrics (none)")
    otlp: Otlp | None = Field(None, description="a receiver that they are sent to (none)")

    @field_validator("cgroups")
    @classmethod
    def _paths(cls, paths: list[str]) -> list[str]:
        for path in paths:
            is_plain = path.isprintable() and len(path.encode()) <= MOST_PATH_BYTES
            if not is_plain or path != os.path.normpath(path) or not path.strip("/"):
                raise ValueError(f"{path!r:.60} is no path as in /proc/PID/cgroup: /a.slice/b")
            if not path.startswith("/") or path.startswith("//"):
                raise ValueError(f"{path!r:.60} does not begin with one /, as in /proc/PID/cgroup")
        if len({*paths}) < len(paths) or len(paths) > MOST_NAMES:
            raise ValueError(f"at most {MOST_NAMES} cgroups, each once")
        return paths


def load(path: str) -> Config:
    """Reads a file. Raises UsageError that lists every fault as file:line:column."""
    text = user_file.read(Path(path), "configuration", obeyed=True)
    source = plain_yaml.load(text, path)
    found = located_yaml.check(source, Config)
    if found is not None:
        try:
            address(found.listen)
        except UsageError as error:
            source.fault(("listen",), str(error))
    source.raise_faults()
    assert found is not None
    return found


def address(text: str) -> tuple[str, int]:
    """Reads HOST:PORT, with an IPv6 address in brackets. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_number = port.isascii() and port.isdigit() and len(port) <= 5
    if not (colon and host and is_number and int(port) < 1 << 16):
        raise UsageError(f"'{text}' is no address with a port, like {LISTEN}")
    return host, int(port)
