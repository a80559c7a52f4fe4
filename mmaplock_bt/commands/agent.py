"""agent: stays, and answers Prometheus: /metrics, /healthz and /readyz."""

import argparse
from contextlib import ExitStack
from http import HTTPStatus

from prometheus_client.core import Metric

from mmaplock_bt import standard_streams
from mmaplock_bt.agent import captures, exposition, hang_ups, outlets, service_manager
from mmaplock_bt.agent import config as configuration
from mmaplock_bt.agent.config import Config
from mmaplock_bt.agent.outlets import Outlets, Told
from mmaplock_bt.agent.reloads import Reloads
from mmaplock_bt.agent.server import Answer, Pages, Server
from mmaplock_bt.agent.supervision import Owner, Supervision
from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import inventory
from mmaplock_bt.tracing import ending


def main(arguments: argparse.Namespace) -> int:
    """Runs until a signal asks for the end.

    Raises UsageError for a file or an address, TargetError and BpftraceError where the first
    bpftrace does not start.
    """
    chosen = _loaded(arguments)
    host, port = configuration.address(arguments.listen or chosen.listen)
    machine = inventory.probe(arguments.bpftrace)
    with ending.on_signals(), hang_ups.noted() as is_asked, ExitStack() as stack:
        supervision = Supervision(chosen, machine, _say)
        reloads = Reloads(is_asked, lambda: _checked(arguments, chosen), _say)
        outs = stack.enter_context(Outlets(lambda: _state(supervision, reloads), _say))
        outs.follow(chosen)
        server = stack.enter_context(Server(host, port, _pages(supervision, outs.told)))
        supervision.run(_owner(f"tracing; {server.url}/metrics", reloads, outs))
        service_manager.tell(service_manager.ENDING)
    return 0


def _owner(sentence: str, reloads: Reloads, outs: Outlets) -> Owner:
    def answered(config: Config, why: str) -> None:
        if not why:
            try:
                outs.follow(config)
            except UsageError as error:
                why = str(error)
        reloads.answered(why)

    return Owner(lambda: _live(sentence), _alive, reloads.asked, answered)


def _state(supervision: Supervision, reloads: Reloads) -> list[Metric]:
    found = exposition.families(supervision.snapshot(), supervision.machine)
    return [*found, *exposition.reloaded(reloads.is_well)]


def _loaded(arguments: argparse.Namespace) -> Config:
    return configuration.load(arguments.config) if arguments.config else Config()


def _checked(arguments: argparse.Namespace, at_start: Config) -> Config:
    """Raises UsageError for a new configuration that cannot be followed."""
    found = _loaded(arguments)
    outlets.check(found)
    captures.check(found.trap)
    if not arguments.listen and found.listen != at_start.listen:
        _say(f"`listen` stays {at_start.listen} until the agent is started again")
    return found


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
