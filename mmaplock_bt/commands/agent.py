"""agent: stays, and answers Prometheus: /metrics, /healthz and /readyz."""

import argparse
from http import HTTPStatus

from mmaplock_bt import standard_streams
from mmaplock_bt.agent import config as configuration
from mmaplock_bt.agent import exposition, service_manager
from mmaplock_bt.agent.config import Config
from mmaplock_bt.agent.server import Answer, Pages, Server
from mmaplock_bt.agent.session import SILENT_NS
from mmaplock_bt.agent.supervision import Supervision
from mmaplock_bt.machine import inventory
from mmaplock_bt.tracing import ending
from mmaplock_bt.units import format_ns


def main(arguments: argparse.Namespace) -> int:
    """Runs until a signal asks for the end.

    Raises UsageError for a file or an address, TargetError and BpftraceError where the first
    bpftrace does not start.
    """
    chosen = configuration.load(arguments.config) if arguments.config else Config()
    host, port = configuration.address(arguments.listen or chosen.listen)
    machine = inventory.probe(arguments.bpftrace)
    with ending.on_signals():
        supervision = Supervision(chosen, machine, _say)
        with Server(host, port, _pages(supervision)) as server:
            told = f"tracing; {server.url}/metrics"
            supervision.run(lambda: _live(told), _alive)
            service_manager.tell(service_manager.ENDING)
    return 0


def _live(sentence: str) -> None:
    standard_streams.tell(sentence)
    service_manager.tell(service_manager.READY, service_manager.status(sentence))


def _alive() -> None:
    service_manager.tell(service_manager.ALIVE)


def _say(sentence: str) -> None:
    standard_streams.tell(sentence)
    service_manager.tell(service_manager.status(sentence))


def _pages(supervision: Supervision) -> Pages:
    return {
        "/metrics": lambda accept: _metrics(supervision, accept),
        "/healthz": lambda _: _health(supervision),
        "/readyz": lambda _: _readiness(supervision),
    }


def _metrics(supervision: Supervision, accept: str) -> Answer:
    snapshot = supervision.snapshot()
    return Answer(*exposition.rendered(snapshot, supervision.machine, accept))


def _health(supervision: Supervision) -> Answer:
    silent_ns = supervision.silent_ns
    if silent_ns is None:
        return _told(supervision.reason, HTTPStatus.SERVICE_UNAVAILABLE)
    said = f"the latest tick was parsed {format_ns(silent_ns)} ago"
    late = HTTPStatus.SERVICE_UNAVAILABLE if silent_ns > SILENT_NS else HTTPStatus.OK
    return _told(said, late)


def _readiness(supervision: Supervision) -> Answer:
    if supervision.is_ready:
        return _told("all probes are attached", HTTPStatus.OK)
    return _told(
        supervision.reason or "not all probes are attached", HTTPStatus.SERVICE_UNAVAILABLE
    )


def _told(sentence: str, status: HTTPStatus) -> Answer:
    return Answer(f"{sentence}\n".encode(), status=status)
