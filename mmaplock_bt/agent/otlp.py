"""Pushes metrics to an OTLP receiver over HTTP: what /metrics tells, under the same names."""

import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from prometheus_client.core import Metric

from mmaplock_bt import NAME, __version__

CUMULATIVE = 2  # AGGREGATION_TEMPORALITY_CUMULATIVE
KEPT = 20  # requests that wait; counters only grow: one that is dropped costs a point, no count
PATIENCE_S = 10
LONGEST_PAUSE = 16  # intervals
PROTOBUF = {"Content-Type": "application/x-protobuf", "User-Agent": f"{NAME}/{__version__}"}


class Pusher:
    """Sends what `families` returns; `sent` and `dropped` count requests.

    A receiver that hangs or refuses is asked less and less often; that is told once. Counts go on
    from those of one `before`.
    """

    def __init__(
        self, url: str, host: str, families: Callable[[], Iterable[Metric]],
        say: Callable[[str], None], before: "Pusher | None" = None,
    ) -> None:  # fmt: skip
        self._url = url
        parts = urlsplit(url)
        self._named = f"{parts.hostname}{parts.path}"  # without a password
        self._host = host
        self._families = families
        self._say = say
        self._began_ns: int = before._began_ns if before else time.time_ns()
        self._waiting: deque[bytes] = deque()
        self._pause = self._turns = 0
        self.sent: int = before.sent if before else 0
        self.dropped: int = before.dropped + len(before._waiting) if before else 0

    def run(self) -> None:
        """Adds what there is now, and sends what waits unless the receiver is given a rest."""
        made = request(self._families(), self._host, self._began_ns, time.time_ns())
        self._waiting.append(made)
        while len(self._waiting) > KEPT:
            self._waiting.popleft()
            self.dropped += 1
        self._turns += 1
        if self._turns > self._pause:
            self._turns = 0
            self._send()

    def _send(self) -> None:
        while self._waiting:
            fault, is_final = _post(self._url, self._waiting[0])
            if fault and not is_final:
                if not self._pause:
                    self._say(f"the OTLP receiver {self._named} takes nothing: {fault}")
                self._pause = min(LONGEST_PAUSE, 2 * self._pause + 1)
                return
            self._waiting.popleft()
            self.dropped += bool(fault)
            self.sent += not fault
            self._pause = 0


def request(families: Iterable[Metric], host: str, began_ns: int, now_ns: int) -> bytes:
    """Returns an ExportMetricsServiceRequest."""
    made = ExportMetricsServiceRequest()
    resource = made.resource_metrics.add()
    for key, value in (("service.name", NAME), ("host.name", host)):
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_metrics.add()
    scope.scope.name, scope.scope.version = NAME, __version__
    for family in families:
        _KINDS[family.type](scope.metrics, family, {"time_unix_nano": now_ns}, began_ns)
    text: bytes = made.SerializeToString()
    return text


def _gauge(into: Any, family: Metric, now: dict[str, int], _began_ns: int) -> None:
    metric = into.add(name=family.name, description=family.documentation)
    for sample in family.samples:
        point = metric.gauge.data_points.add(as_double=sample.value, **now)
        _label(point, sample.labels)


def _counter(into: Any, family: Metric, now: dict[str, int], began_ns: int) -> None:
    metric = into.add(name=f"{family.name}_total", description=family.documentation)
    metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, CUMULATIVE
    for sample in family.samples:
        points = metric.sum.data_points
        point = points.add(as_double=sample.value, start_time_unix_nano=began_ns, **now)
        _label(point, sample.labels)


def _histogram(into: Any, family: Metric, now: dict[str, int], began_ns: int) -> None:
    """Prometheus' buckets are cumulative, these are not; both count a bucket's upper end in it."""
    metric = into.add(name=family.name, description=family.documentation, unit="s")
    metric.histogram.aggregation_temporality = CUMULATIVE
    points: dict[tuple[tuple[str, str], ...], Any] = {}
    for sample in family.samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        if labels not in points:
            points[labels] = metric.histogram.data_points.add(start_time_unix_nano=began_ns, **now)
            _label(points[labels], dict(labels))
        point = points[labels]
        if sample.name.endswith("_bucket"):
            _add_bucket(point, sample.labels["le"], round(sample.value))
        elif sample.name.endswith("_sum"):
            point.sum = sample.value


def _add_bucket(point: Any, le: str, cumulative: int) -> None:
    if le != "+Inf":
        point.explicit_bounds.append(float(le))
    point.bucket_counts.append(cumulative - sum(point.bucket_counts))
    point.count = cumulative


_KINDS: dict[str, Callable[[Any, Metric, dict[str, int], int], None]] = {
    "gauge": _gauge,
    "counter": _counter,
    "histogram": _histogram,
}


def _label(point: Any, labels: dict[str, str]) -> None:
    for name, value in labels.items():
        point.attributes.add(key=name).value.string_value = value


def _post(url: str, text: bytes) -> tuple[str, bool]:
    """Returns why it was not taken, or '', and whether it never will be (a 4xx but 408 and 429)."""
    try:
        asked = urllib.request.Request(url, text, PROTOBUF)
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
            answer.read(1 << 16)
    except urllib.error.HTTPError as error:
        is_final = 400 <= error.code < 500 and error.code not in (408, 429)
        return f"it answers {error.code}", is_final
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__, False
    return "", False
