"""What a receiver is sent, and what becomes of requests that none takes."""

import http.server
import threading
from typing import ClassVar

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from mmaplock_bt.agent import otlp
from mmaplock_bt.agent.exposition import families
from mmaplock_bt.agent.otlp import KEPT, Pusher, request
from mmaplock_bt.machine import inventory
from tests.unit.agent.test_exposition import TRACING, snapshot


def told():
    return list(families(snapshot(TRACING), inventory.offline()))


@pytest.fixture
def receiver():
    """A server that answers with the statuses of a list, then 200; and what it was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        statuses: ClassVar[list[int]] = []
        bodies: ClassVar[list[bytes]] = []

        def do_POST(self):
            self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(self.statuses.pop(0) if self.statuses else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    Handler.statuses, Handler.bodies = [], []
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://user:secret@127.0.0.1:{server.server_port}/v1/metrics", Handler
        server.shutdown()


@pytest.fixture
def pusher(receiver):
    said = []
    # urllib takes no name and password in a URL.
    return Pusher(receiver[0].replace("user:secret@", ""), "h1", told, said.append), said


def metrics(text):
    (resource,) = ExportMetricsServiceRequest.FromString(text).resource_metrics
    named = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert named == {"service.name": "mmaplock-bt", "host.name": "h1"}
    return {one.name: one for one in resource.scope_metrics[0].metrics}


def test_it_says_what_metrics_says():
    found = metrics(request(told(), "h1", 5, 9))
    assert found["mmaplock_up"].gauge.data_points[0].as_double == 1
    blamed = found["mmaplock_blamed_wait_seconds_total"].sum
    (point,) = blamed.data_points
    assert (blamed.is_monotonic, blamed.aggregation_temporality) == (True, 2)
    assert (point.as_double, point.start_time_unix_nano, point.time_unix_nano) == (0.005, 5, 9)
    assert {a.key: a.value.string_value for a in point.attributes} == {
        "cause": "fork", "mode": "write", "culprit": 'a"\\',
    }  # fmt: skip


def test_histograms_are_exact():
    waits = metrics(request(told(), "h1", 5, 9))["mmaplock_wait_seconds"].histogram
    read, write = waits.data_points
    assert (read.count, read.sum) == (5, 5e-6)
    assert len(read.bucket_counts) == len(read.explicit_bounds) + 1
    assert list(read.bucket_counts[:3]) == [2, 3, 0]
    assert read.explicit_bounds[:2] == [1.023e-06, 2.047e-06]
    assert (write.bucket_counts[0], write.bucket_counts[-1], write.count) == (1, 5, 6)


def test_it_sends(pusher, receiver):
    one, said = pusher
    one.run()
    one.run()
    assert (one.sent, one.dropped, said) == (2, 0, [])
    assert metrics(receiver[1].bodies[1])


def test_what_is_refused_for_good_is_dropped_and_counted(pusher, receiver):
    receiver[1].statuses += [400]
    one, _ = pusher
    one.run()
    assert (one.sent, one.dropped) == (0, 1)


def test_what_is_refused_for_now_is_sent_later_and_asked_less_often(pusher, receiver):
    receiver[1].statuses += [500, 503, 429]
    one, said = pusher
    asked = []
    for _ in range(20):
        one.run()
        asked.append(len(receiver[1].bodies))
    # After 1, 3, 7 turns of rest all that waited is sent, in its order, and each one since.
    assert asked[:15] == [1, 1, 2, 2, 2, 2, 3, *[3] * 7, 18]
    assert (one.sent, one.dropped) == (20, 0)
    assert len(said) == 1 and "it answers 500" in said[0]


def test_few_wait(receiver):
    """For a receiver that never takes any; each one that is dropped is counted."""
    said = []
    one = Pusher("http://user:secret@127.0.0.1:1/x", "h1", told, said.append)
    for _ in range(KEPT + 7):
        one.run()
    assert (one.sent, one.dropped, len(one._waiting)) == (0, 7, KEPT)
    assert len(said) == 1 and "127.0.0.1/x takes nothing" in said[0] and "secret" not in said[0]


def test_one_that_hangs_keeps_nobody_for_long(monkeypatch):
    monkeypatch.setattr(otlp, "PATIENCE_S", 0.2)
    with http.server.HTTPServer(("127.0.0.1", 0), None) as silent:
        said = []
        one = Pusher(f"http://127.0.0.1:{silent.server_port}/", "h1", told, said.append)
        one.run()
    assert "timed out" in said[0]
