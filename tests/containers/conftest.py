"""Containers of Podman's: cgroups, namespaces, capabilities and seccomp are the kernel's own."""

import os
import subprocess
from collections.abc import Callable

import pytest
import yaml

from tests.kernel.conftest import cli, kernel  # noqa: F401
from tests.shell import ROOT
from tools.containers import IMAGE, INSIDE

MANIFEST = ROOT / "deploy/kubernetes/daemonset.yaml"
# What docs/containers.md says.
LEAST = ("BPF", "PERFMON", "SYSLOG", "SYS_PTRACE")
TRACING = "--volume=/sys/kernel/tracing:/sys/kernel/tracing:ro"
CGROUPS = "--volume=/sys/fs/cgroup:/sys/fs/cgroup:ro"
HOST = ("--pid=host", TRACING, CGROUPS)
# Podman's profile lets perf_event_open(2) pass for CAP_SYS_ADMIN alone.
UNFILTERED = "--security-opt=seccomp=unconfined"
# Its limits are above what a machine without CAP_SYS_RESOURCE may give.
LIMITS = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")


@pytest.fixture(autouse=True)
def inside(kernel) -> None:  # noqa: F811
    """Skips a run that is not make test-containers."""
    if not os.environ.get(INSIDE):
        pytest.skip("make test-containers")


def capabilities(*names: str) -> tuple[str, ...]:
    return ("--cap-drop=ALL", *(f"--cap-add={name}" for name in names))


def podman(*words: str, timeout_s: float = 120) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["podman", *words], capture_output=True, text=True, timeout=timeout_s, check=False
    )


def run(*options: str) -> list[str]:
    """The words that start a container, its root read-only and without a network of its own."""
    return ["podman", "run", "--rm", "--read-only", "--network=host", *LIMITS, *options, IMAGE]


@pytest.fixture
def tool() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the image: options of Podman's, then the tool's words."""

    def call(options: tuple[str, ...], *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*run(*options), *words], capture_output=True, text=True, timeout=120, check=False
        )

    return call


@pytest.fixture
def least(tool) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the image as docs/containers.md says."""
    return lambda *words: tool((*HOST, UNFILTERED, *capabilities(*LEAST)), *words)


@pytest.fixture
def pod() -> dict:
    """The manifest's pod."""
    return yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]
