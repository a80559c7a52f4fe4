"""OpenMetrics text. GitLab compares its samples as text: there are few, with stable names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers.summary import summaries
from mmaplock_bt.spec.gates import Metric

Labels = tuple[tuple[str, str], ...]


@dataclass
class Gauge:
    """A metric family: its samples by their labels."""

    help: str
    unit: str = ""
    samples: dict[Labels, float] = field(default_factory=dict)


class Gauges(Collector):
    """The families, as the library collects them."""

    def __init__(self, found: dict[str, Gauge]) -> None:
        self.found = found

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, gauge in self.found.items():
            family = GaugeMetricFamily(name, gauge.help, unit=gauge.unit)
            for labels, value in gauge.samples.items():
                family.add_sample(name, dict(labels), value)
            yield family


def render(series: Series) -> str:
    """Renders the series' measures and verdicts as OpenMetrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Gauges(_measured(series) | _judged(series) | _cost(series)))
    text: bytes = generate_latest(registry)
    return text.decode()


def _measured(series: Series) -> dict[str, Gauge]:
    found: dict[str, Gauge] = {}
    for one in summaries(series.runs):
        metric, is_time = one.metric, one.metric.unit == "ns"
        help_text = f"{metric.field} of {safe(metric.output)}, the runs' median"
        gauge = found.setdefault(_name(metric), Gauge(help_text, "seconds" if is_time else ""))
        labels = tuple((key, label(value)) for key, value in metric.where)
        gauge.samples[labels] = one.value / 10**9 if is_time else one.value
    return found


def _name(metric: Metric) -> str:
    """The endings _count and _sum are reserved for histograms."""
    unit = "seconds" if metric.unit == "ns" else metric.unit or "values"
    what = "samples" if metric.field == "count" else f"{metric.field}_{unit}"
    return re.sub(r"\W", "_", f"mmaplock_{metric.output}_{what}", flags=re.ASCII)


def _judged(series: Series) -> dict[str, Gauge]:
    """A gate that was given twice passed if it did both times."""
    passed = Gauge("whether the gate passed")
    for said in series.verdicts:
        labels = (("gate", label(said.gate)), ("level", said.level))
        before = passed.samples.get(labels, 1)
        passed.samples[labels] = min(before, int(said.outcome == "pass"))
    complete = Gauge("whether nothing is missing", samples={(): int(series.is_complete)})
    return {"mmaplock_gate_passed": passed, "mmaplock_complete": complete}


def _cost(series: Series) -> dict[str, Gauge]:
    """Of the dearest run; few lines, since costs differ in every run."""
    costs = [run.cost for run in series.runs if run.cost and run.cost.ppm is not None]
    if not costs:
        return {}
    dearest = max(costs, key=lambda cost: cost.ppm or 0)
    told = "CPU time that tracing took, as a share of the machine's, in the dearest run"
    rate = "runs of the probes' programs a second, in the dearest run"
    return {
        "mmaplock_cost_ratio": Gauge(told, "ratio", {(): (dearest.ppm or 0) / 10**6}),
        "mmaplock_events_per_second": Gauge(rate, "", {(): dearest.events_per_s or 0}),
    }


def label(text: str) -> str:
    """Returns a label's value, harmless; GitLab ends a line at the first #, even inside a label."""
    return safe(text).replace("#", "\\x23")
