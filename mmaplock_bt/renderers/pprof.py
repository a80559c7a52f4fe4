"""A profile for pprof (gzipped profile.proto): holds, time held, time that others waited."""

import gzip
from typing import Any

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import extras
from mmaplock_bt.renderers.stack_weights import Stack, weighed

SAMPLE_TYPES = (("holds", "count"), ("hold", "nanoseconds"), ("victim", "nanoseconds"))
_MAPPING = 1
# github.com/google/pprof, proto/profile.proto: (field, number, type, repeated), a capital is a
# message. Built here, so that no generated code is carried.
_MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "ValueType": (("type", 1, "int64", False), ("unit", 2, "int64", False)),
    "Label": (("key", 1, "int64", False), ("str", 2, "int64", False)),
    "Sample": (
        ("location_id", 1, "uint64", True),
        ("value", 2, "int64", True),
        ("label", 3, "Label", True),
    ),
    "Mapping": (
        ("id", 1, "uint64", False),
        ("filename", 5, "int64", False),
        ("has_functions", 7, "bool", False),
    ),
    "Line": (("function_id", 1, "uint64", False),),
    "Location": (
        ("id", 1, "uint64", False),
        ("mapping_id", 2, "uint64", False),
        ("line", 4, "Line", True),
    ),
    "Function": (
        ("id", 1, "uint64", False),
        ("name", 2, "int64", False),
        ("system_name", 3, "int64", False),
    ),
    "Profile": (
        ("sample_type", 1, "ValueType", True),
        ("sample", 2, "Sample", True),
        ("mapping", 3, "Mapping", True),
        ("location", 4, "Location", True),
        ("function", 5, "Function", True),
        ("string_table", 6, "string", True),
        ("time_nanos", 9, "int64", False),
        ("duration_nanos", 10, "int64", False),
        ("comment", 13, "int64", True),
        ("default_sample_type", 14, "int64", False),
    ),
}


def render(series: Series) -> bytes:
    """Renders all runs as one profile. Raises UsageError without protobuf."""
    found, made = weighed(series), _Profile()
    totals = found.totals()
    shown = "victim" if totals.victim_ns else "hold"
    for stack, weight in found.of.items():
        made.add(stack, (weight.holds, weight.hold_ns, weight.victim_ns))
    about = safe(f"mmaplock-bt {series.last.tool.version}, {series.last.profile.name}")
    comments = [about, *found.lacks]
    return made.gzipped(series, shown, comments)


class _Profile:
    """Strings, functions and locations are told once and then by number; string 0 is empty."""

    def __init__(self) -> None:
        self._message = _message_class()()
        self._strings: dict[str, int] = {}
        self._locations: dict[str, int] = {}
        self._string("")
        for name, unit in SAMPLE_TYPES:
            self._message.sample_type.add(type=self._string(name), unit=self._string(unit))
        # Of one that has functions already, pprof looks for no binary.
        place = self._string("[mmap_lock]")
        self._message.mapping.add(id=_MAPPING, filename=place, has_functions=True)

    def add(self, stack: Stack, values: tuple[int, int, int]) -> None:
        """Adds a sample; pprof wants the innermost frame first."""
        sample = self._message.sample.add(value=map(extras.int64, values))
        sample.location_id.extend(self._location(frame) for frame in reversed(stack.frames))
        for name, value in stack.labels:
            sample.label.add(key=self._string(name), str=self._string(value))

    def gzipped(self, series: Series, shown: str, comments: list[str]) -> bytes:
        """Returns the file; the same series gives the same bytes."""
        message = self._message
        message.time_nanos = extras.int64(series.runs[0].window.start_ns)
        message.duration_nanos = extras.int64(sum(run.window.duration_ns for run in series.runs))
        message.default_sample_type = self._string(shown)
        message.comment.extend([self._string(comment) for comment in comments])
        return gzip.compress(message.SerializeToString(deterministic=True), mtime=0)

    def _string(self, text: str) -> int:
        if text not in self._strings:
            self._strings[text] = len(self._strings)
            self._message.string_table.append(text)
        return self._strings[text]

    def _location(self, frame: str) -> int:
        if frame not in self._locations:
            number = self._locations[frame] = len(self._locations) + 1
            name = self._string(frame)
            self._message.function.add(id=number, name=name, system_name=name)
            self._message.location.add(id=number, mapping_id=_MAPPING).line.add(function_id=number)
        return self._locations[frame]


def _message_class() -> Any:
    google = extras.pprof()
    field = google.descriptor_pb2.FieldDescriptorProto
    file = google.descriptor_pb2.FileDescriptorProto(
        name="mmaplock_bt/profile.proto", package="perftools.profiles", syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind, is_repeated in fields:
            label = field.LABEL_REPEATED if is_repeated else field.LABEL_OPTIONAL
            made = described.field.add(name=name, number=number, label=label)
            if kind in _MESSAGES:
                made.type, made.type_name = field.TYPE_MESSAGE, f".{file.package}.{kind}"
            else:
                made.type = field.Type.Value(f"TYPE_{kind.upper()}")
    pool = google.descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{file.package}.Profile")
    return google.message_factory.GetMessageClass(found)
