"""agent: stays, and answers Prometheus: /metrics, /healthz and /readyz."""

import argparse
import socket
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from importlib import import_module
from typing import Any

from prometheus_client.core import Metric

from mmaplock_bt import standard_streams
from mmaplock_bt.agent import config as configuration
from mmaplock_bt.agent import exposition, outlets, service_manager
from mmaplock_bt.agent.config import Config
from mmaplock_bt.agent.server import Answer, Pages, Server
from mmaplock_bt.agent.supervision import Supervision
from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import inventory
from mmaplock_bt.tracing import ending

Told = Callable[[], list[Metric]]


def main(arguments: argparse.Namespace) -> int:
    """Runs until a signal asks for the end.

    Raises UsageError for a file or an address, TargetError and BpftraceError where the first
    bpftrace does not start.
    """
    chosen = configuration.load(arguments.config) if arguments.config else Config()
    host, port = configuration.address(arguments.listen or chosen.listen)
    machine = inventory.probe(arguments.bpftrace)
    with ending.on_signals(), ExitStack() as stack:
        supervision = Supervision(chosen, machine, _say)
        told = _outlets(chosen, supervision, stack)
        server = stack.enter_context(Server(host, port, _pages(supervision, told)))
        where = f"tracing; {server.url}/metrics"
        supervision.run(lambda: _live(where), _alive)
        service_manager.tell(service_manager.ENDING)
    return 0


def _outlets(chosen: Config, supervision: Supervision, stack: ExitStack) -> Told:
    """Begins what writes and sends by itself; returns what tells the metrics."""

    def told() -> list[Metric]:
        found = list(exposition.families(supervision.snapshot(), supervision.machine))
        return [*found, *exposition.pushed(pusher.sent, pusher.dropped)] if pusher else found

    pusher = None
    if chosen.otlp is not None:
        pusher = _otlp().Pusher(chosen.otlp.url, socket.gethostname(), told, _say)
        stack.enter_context(outlets.every(chosen.otlp.every, pusher.run, _say))
    if chosen.textfile is not None:
        one = outlets.Textfile(
            chosen.textfile.path, lambda: exposition.rendered(told(), "")[0], _say
        )
        stack.callback(one.run)  # the last time: that nothing is traced any more
        stack.enter_context(outlets.every(chosen.textfile.every, one.run, _say))
    return told


def _otlp() -> Any:
    try:
        return import_module("mmaplock_bt.agent.otlp")
    except ImportError as error:
        raise UsageError(
            "`otlp:` needs another library: pip install 'mmaplock-bt[otlp]'"
        ) from error


def _live(sentence: str) -> None:
    standard_streams.tell(sentence)
    service_manager.tell(service_manager.READY, service_manager.status(sentence))


def _alive() -> None:
    service_manager.tell(service_manager.ALIVE)


def _say(sentence: str) -> None:
    standard_streams.tell(sentence)
    service_manager.tell(service_manager.status(sentence))


def _pages(supervision: Supervision, told: Told) -> Pages:
    page = exposition.Page(told)
    return {
        "/metrics": lambda accept: Answer(*page.rendered(accept)),
        "/healthz": lambda _: _health(supervision),
        "/readyz": lambda _: _readiness(supervision),
    }


def _health(supervision: Supervision) -> Answer:
    is_well, sentence = supervision.health()
    return _told(sentence, HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE)


def _readiness(supervision: Supervision) -> Answer:
    if supervision.is_ready:
        return _told("all probes are attached", HTTPStatus.OK)
    return _told(
        supervision.reason or "not all probes are attached", HTTPStatus.SERVICE_UNAVAILABLE
    )


def _told(sentence: str, status: HTTPStatus) -> Answer:
    return Answer(f"{sentence}\n".encode(), status=status)
