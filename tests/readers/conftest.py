"""The readers, or a test that is skipped and says what is missing."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tools import readers

GO = next((p for p in ("go", *Path("/usr/lib").glob("go-*/bin/go")) if shutil.which(p)), None)
MISSING = "is not installed: make readers-tools"


@pytest.fixture
def pprof(tmp_path):
    """Returns what `go tool pprof` prints of a profile."""
    if GO is None:
        pytest.skip(f"go {MISSING}")

    def ask(profile: bytes, *words: str) -> str:
        file = tmp_path / "profile.pb.gz"
        file.write_bytes(profile)
        done = subprocess.run([GO, "tool", "pprof", *words, file], capture_output=True, text=True,
                              check=True, timeout=60)  # fmt: skip
        assert done.stderr == ""
        return done.stdout

    return ask


@pytest.fixture
def trace_processor(tmp_path):
    """Returns the rows of a query on a trace."""
    engine = readers.trace_processor()
    if engine is None or shutil.which("node") is None:
        pytest.skip(f"Perfetto's trace processor, or node, {MISSING}")

    def ask(trace: bytes, query: str) -> list[tuple[object, ...]]:
        file = tmp_path / "trace.pftrace"
        file.write_bytes(trace)
        script = Path(__file__).with_name("trace_processor.mjs")
        done = subprocess.run(["node", script, engine, file, query], capture_output=True,
                              text=True, check=True, timeout=120)  # fmt: skip
        return _rows(b"".join(map(base64.b64decode, json.loads(done.stdout))))

    return ask


def _rows(answer: bytes) -> list[tuple[object, ...]]:
    """Rows of the answer's batches; a cell's type says from which list its value comes."""
    found = []
    for message in _stream_class().FromString(answer).msg:
        assert not message.fatal_error, message.fatal_error
        if not message.HasField("query_result"):
            continue
        result = message.query_result
        assert not result.error, result.error
        cells = [cell for batch in result.batch for cell in _cells(batch)]
        width = len(result.column_names)
        found += [tuple(cells[at : at + width]) for at in range(0, len(cells), width)]
    return found


def _cells(batch):
    values = {
        1: iter(lambda: None, 0), 2: iter(batch.varint_cells), 3: iter(batch.float64_cells),
        4: iter(batch.string_cells.split("\0")), 5: iter(batch.blob_cells),
    }  # fmt: skip
    return [next(values[kind]) for kind in batch.cells]


def _stream_class():
    import perfetto  # noqa: PLC0415

    place = Path(perfetto.__path__[0]) / "trace_processor/trace_processor.descriptor"
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(place.read_bytes()).file:
        pool.Add(file)
    name = "perfetto.protos.TraceProcessorRpcStream"
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
