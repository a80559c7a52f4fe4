"""The image traces with the mounts and capabilities that docs/containers.md names, and no more."""

import json
import re
import socket
import subprocess
import urllib.request

import pytest

from mmaplock_bt import workload
from mmaplock_bt.result.saved import from_json
from tests.containers.conftest import (
    CGROUPS,
    HOST,
    IMAGE,
    LEAST,
    LIMITS,
    TRACING,
    UNFILTERED,
    capabilities,
    podman,
)
from tests.fleet.conftest import until
from tests.shell import ROOT

PYTHON = "/opt/mmaplock-bt/bin/python"
MUNMAPS = (PYTHON, "-m", workload.__name__, "munmaps", "101")


def checks(done) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_what_is_named_is_enough(least):
    done = least("doctor", "--json")
    found = checks(done)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("tracefs", "BTF", "kernel symbols", "process ids", "memory cgroups", "mm_owner"):
        assert found[name]["state"] == "ok", found[name]
    assert found["privilege"]["found"].startswith("root, by CAP_BPF and CAP_PERFMON")


def test_a_command_in_the_container_is_traced(least):
    done = least("run", "hold-times", "--", "true")
    assert done.returncode == 0, done.stderr
    assert "nothing is known to be missing" in done.stdout


def test_stacks_have_names_and_nothing_is_lost(least):
    done = least("run", "long-holds", "--set", "threshold=0", "--format", "json", "--", *MUNMAPS)
    assert done.returncode == 0, done.stderr
    result = from_json(done.stdout)
    assert result.loss.complete and result.books.downgrades >= 101
    stacks = [row["kernel_stack"] for row in result.outputs["long_holds"].rows]
    assert any("munmap" in frame for stack in stacks for frame in stack or [])


def test_a_template_of_the_users_is_rendered_there_too(tool, tmp_path):
    """Apart, where there is nobody to become (CAP_SETUID) and no root to change."""
    text = (ROOT / "templates/long-holds.bt.j2").read_text()
    (tmp_path / "mine.bt.j2").write_text(text)
    (tmp_path / "mine.yaml").write_text("template: ./mine.bt.j2\nparams: {threshold: 0}\n")
    options = (*HOST, UNFILTERED, *capabilities(*LEAST), f"--volume={tmp_path}:/mine:ro")
    done = tool(options, "run", "/mine/mine.yaml", "--format", "json", "--", *MUNMAPS)
    assert done.returncode == 0, done.stderr
    assert from_json(done.stdout).books.downgrades >= 101


WITHOUT = {
    "tracefs": ((CGROUPS, "--pid=host"), LEAST, "tracefs", "missing", "tracefs is not mounted"),
    "BPF": (HOST, ("PERFMON", "SYSLOG"), "privilege", "missing", "without CAP_BPF"),
    "PERFMON": (HOST, ("BPF", "SYSLOG"), "privilege", "missing", "without CAP_PERFMON"),
    "SYSLOG": (HOST, ("BPF", "PERFMON"), "kernel symbols", "limited", "hides the addresses"),
    "the machine's pids": (HOST[1:], LEAST, "process ids", "limited", "a PID namespace"),
    "the machine's cgroups": (
        ("--pid=host", TRACING, "--cgroupns=private"),
        *(LEAST, "memory cgroups", "limited", "only this container's part"),
    ),
}


@pytest.mark.parametrize("what", WITHOUT)
def test_without_one_of_them_doctor_says_what_is_missing(tool, what):
    mounts, names, check, state, said = WITHOUT[what]
    done = tool((*mounts, UNFILTERED, *capabilities(*names)), "doctor", "--json")
    found = checks(done)[check]
    assert (found["state"], said in found["found"]) == (state, True), found
    assert found["mend"] and done.returncode == (3 if state == "missing" else 0)


def test_without_names_of_functions_a_run_says_so_before_it(tool):
    options = (*HOST, UNFILTERED, *capabilities("BPF", "PERFMON"))
    done = tool(options, "run", "long-holds", "-q", "--", "true")
    assert done.returncode == 0 and "--cap-add SYSLOG" in done.stderr
    assert "SYSLOG" not in tool(options, "run", "hold-times", "-q", "--", "true").stderr


def test_a_seccomp_profile_is_named(tool):
    done = tool((*HOST, *capabilities(*LEAST)), "run", "hold-times", "--", "true")
    if done.returncode == 0:
        pytest.skip("this Podman's profile lets perf_event_open pass")
    assert done.returncode == 3 and done.stdout == ""
    assert re.search("seccomp profile refuses .*perf_event_open.*--security-opt", done.stderr)


def test_without_any_capability_tracefs_alone_traces(tool):
    """Where it may be written: root of the container owns its files."""
    mounts = ("--pid=host", CGROUPS, TRACING.removesuffix(":ro"), *capabilities())
    done = tool(mounts, "run", "hold-times", "-q", "--", *MUNMAPS)
    assert done.returncode == 0, done.stderr
    assert "engine tracefs, because" in done.stdout


@pytest.mark.parametrize("own", [True, False], ids=["a namespace", "the machine's"])
def test_which_pids_are_told(tool, own):
    """In a PID namespace a process has two ids; the report has the machine's."""
    options = (*(HOST[1:] if own else HOST), UNFILTERED, *capabilities(*LEAST))
    done = tool(options, "run", "hold-times", "--format", "json", "--", *MUNMAPS)
    assert done.returncode == 0, done.stderr
    its_own = json.loads(next(line for line in done.stderr.splitlines() if "munmaps" in line))[
        "pid"
    ]
    owners = from_json(done.stdout).outputs["owners"].rows
    busiest = max(owners, key=lambda row: row["count"])["key"]["owner_pid"]
    assert (busiest != its_own) == own


def of_the_manifest(pod: dict, port: int) -> list[str]:
    """Podman's words for the manifest's one container, and the tool's."""
    (made,) = pod["containers"]
    context = made["securityContext"]
    assert context["capabilities"]["drop"] == ["ALL"] and context["readOnlyRootFilesystem"]
    places = {one["name"]: one for one in pod["volumes"]}
    mounts = [mounted(one, places[one["name"]]) for one in made["volumeMounts"]]
    args = [word.replace("9435", str(port)) for word in made["args"]]
    return [
        *("--read-only", "--read-only-tmpfs=false", "--security-opt=no-new-privileges"),
        *(UNFILTERED, f"--user={context['runAsUser']}", *LIMITS, *mounts),
        *(("--pid=host",) if pod["hostPID"] else ()),
        *(("--network=host",) if pod["hostNetwork"] else ()),
        f"--memory={made['resources']['limits']['memory'].removesuffix('i').lower()}",
        *capabilities(*context["capabilities"]["add"]), IMAGE, *args,
    ]  # fmt: skip


def mounted(mount: dict, volume: dict) -> str:
    if "emptyDir" in volume:
        size = volume["emptyDir"]["sizeLimit"].removesuffix("i").lower()
        return f"--tmpfs={mount['mountPath']}:rw,size={size}"
    mode = "ro" if mount.get("readOnly") else "rw"
    return f"--volume={volume['hostPath']['path']}:{mount['mountPath']}:{mode}"


def test_the_manifests_capabilities_are_those_of_the_docs(pod):
    (made,) = pod["containers"]
    assert set(made["securityContext"]["capabilities"]["add"]) == set(LEAST)
    told = (ROOT / "docs/containers.md").read_text()
    assert all(f"--cap-add {name}" in told and f"| `{name}` |" in told for name in LEAST)


def test_the_agent_runs_as_the_daemonset_runs_it(pod):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = podman("run", "--detach", *of_the_manifest(pod, port))
    assert started.returncode == 0, started.stderr
    identity = started.stdout.strip()
    try:
        until(lambda: get(port, "readyz"), "the agent is ready")
        assert "\nmmaplock_up 1.0\n" in get(port, "metrics") and get(port, "healthz")
        log = podman("logs", identity)
        assert "tracing" in log.stderr and "Traceback" not in log.stderr
    finally:
        podman("stop", "--time=30", identity)
    ended = podman("inspect", "--format={{.State.ExitCode}}", identity)
    podman("rm", "--force", identity)
    assert ended.stdout.strip() == "0"


def get(port: int, page: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10) as answer:
        return answer.read().decode()


def test_the_image_is_the_tool_and_by_itself_the_agent():
    done = subprocess.run(
        ["podman", "image", "inspect", IMAGE], capture_output=True, text=True, check=True
    )
    config = json.loads(done.stdout)[0]["Config"]
    assert config["Entrypoint"] == ["mmaplock-bt"] and config["Cmd"][0] == "agent"
