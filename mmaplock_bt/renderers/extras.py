"""Libraries that some formats need and that are installed with mmaplock-bt[export] only."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from mmaplock_bt.errors import UsageError

_MOST = 2**63 - 1


def int64(value: int) -> int:
    """Returns what of a number a message can hold: those in a result file have up to 96 bits."""
    return max(-_MOST, min(value, _MOST))


def pprof() -> Any:
    """Returns the parts of google.protobuf that build a message. Raises UsageError without it."""
    names = ("descriptor_pb2", "descriptor_pool", "message_factory")
    return SimpleNamespace(**{name: _needed(f"google.protobuf.{name}") for name in names})


def perfetto() -> Any:
    """Returns a new TraceProtoBuilder's module and TrackEvent. Raises UsageError without them."""
    builder = _needed("perfetto.trace_builder.proto_builder")
    messages = _needed("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    return SimpleNamespace(Builder=builder.TraceProtoBuilder, TrackEvent=messages.TrackEvent)


def _needed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("google", "protobuf")
        raise UsageError(
            f"this format needs {package}: install mmaplock-bt[export], or {package} itself"
        ) from error
