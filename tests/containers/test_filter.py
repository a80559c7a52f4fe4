"""--container means one container's address spaces: all of its, and nobody else's."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from mmaplock_bt import renderers
from mmaplock_bt.judging.series import Series
from mmaplock_bt.result.saved import from_json
from tests.containers.conftest import HOST, LEAST, UNFILTERED, capabilities, podman, run
from tests.kernel.test_filters import SLACK, ended, opened, reads

PYTHON = "/opt/mmaplock-bt/bin/python"
# Unmaps when it is told to, and says that it has.
WORKLOAD = """
import sys
from mmaplock_bt import workload
print("up", flush=True)
for line in sys.stdin:
    workload.munmaps(int(line))
    print("done", flush=True)
"""
OVER_ALL = ("run", "hold-times", "--format", "json", "--system-wide")
WAITS = ("sh", "-c", "echo go; cat > /dev/null")


@dataclass
class Payload:
    """A container whose process unmaps as often as it is told."""

    process: "subprocess.Popen[str]"
    name: str
    id: str
    pid: int

    def unmaps(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@contextmanager
def payloads(*names, options=()):
    found = []
    try:
        for name in names:
            words = (*options, "--interactive", f"--name={name}", f"--entrypoint={PYTHON}")
            process = subprocess.Popen(
                [*run(*words), "-c", WORKLOAD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout.readline() == "up\n"
            told = json.loads(podman("inspect", name).stdout)[0]
            found.append(Payload(process, name, told["Id"], told["State"]["Pid"]))
        yield found
    finally:
        podman("rm", "--force", *names)
        for payload in found:
            payload.process.communicate(timeout=30)


@pytest.fixture
def name():
    return f"mmaplock-{os.getpid()}"


A_NEW_ONE = tuple(run("--interactive", *HOST, UNFILTERED, *capabilities(*LEAST)))


def from_inside(*words, of=A_NEW_ONE):
    """A container's own run, whose window is open: its command has begun."""
    process = subprocess.Popen(
        [*of, *OVER_ALL, *words, "--", *WAITS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while (line := process.stderr.readline()) != "go\n":
        assert line, "the run ended before its command began"
    return process


def test_one_container_by_id_and_by_name_from_outside_and_from_inside(kernel, name):
    with payloads(f"{name}-web", f"{name}-other") as (web, other):
        with ThreadPoolExecutor() as pool:
            inside = pool.submit(from_inside, "--container", web.id[:12])
            runs = opened(("--container", web.id[:12]), ("--container", web.name))
            inside = inside.result()
        for count in (101, 499, 409):
            other.unmaps(2003)
            web.unmaps(count)
        results = ended(runs)
        out, err = inside.communicate(timeout=60)
        assert inside.returncode == 0, err
        for result in (*results, from_json(out)):
            assert result.loss.complete
            assert reads(result).keys() == {web.pid}
            assert 0 <= result.books.downgrades - 1009 < SLACK
        (cgroup,) = reads(results[0], "cgroup")
        assert web.id in cgroup and results[0].profile.filter["owner"]["cgroup"] == cgroup
        shown = renderers.rendered(Series((results[0],)), "table", detail=2, width=200)
        assert f"podman {web.id[:12]}" in shown


def test_in_a_pid_namespace_its_own_pid_is_meant_and_the_machines_is_told(name):
    """As by `kubectl exec`: the payload is 1 there."""
    options = (*HOST[1:], UNFILTERED, *capabilities(*LEAST))
    with payloads(name, options=options) as (payload,):
        inside = ("podman", "exec", "--interactive", name, "mmaplock-bt")
        process = from_inside("-p", "1", of=inside)
        payload.unmaps(499)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        result = from_json(out)
        assert reads(result).keys() == {payload.pid} and payload.pid != 1
        assert 0 <= result.books.downgrades - 499 < SLACK


def test_an_unknown_one_is_answered_with_those_that_run(cli, name):
    with payloads(f"{name}-a", f"{name}-b") as both:
        done = cli("run", "--container", "nobody", "-d", "1s")
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        for payload in both:
            assert f"podman {payload.id[:12]} ({payload.name})" in done.stderr


def test_what_looks_after_a_container_is_not_it(cli, name):
    """conmon's cgroup bears the same id; a pid of the payload is in the one that is found."""
    with payloads(name) as (payload,):
        done = cli("script", "long-holds", "--container", payload.id[:8])
        assert done.returncode == 0, done.stderr


def test_without_the_machines_cgroups_it_says_what_to_mount(tool):
    options = ("--pid=host", HOST[1], "--cgroupns=private", UNFILTERED, *capabilities(*LEAST))
    done = tool(options, "run", "--container", "3f2a1b4c5d6e", "-d", "1s")
    assert done.returncode == 2 and "mount the machine's /sys/fs/cgroup" in done.stderr
