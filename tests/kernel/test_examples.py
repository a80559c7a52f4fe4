"""The ready-made CI files: their shell steps, run as the CI would."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from mmaplock_bt import workload
from mmaplock_bt.judging import series
from tests.shell import EXAMPLES, github_actions, run_step

pytestmark = pytest.mark.kernel


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with a benchmark that forks, and a second commit that forks more memory."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(EXAMPLES / "budget.yaml", folder / "mmap_lock-budget.yaml")
    commands = "git init -q; git config user.email a@b; git config user.name a"
    for size_mib in (32, 96):
        bench = f"#!/bin/sh\nexec {' '.join(workload.command('forks', 23, size_mib))}\n"
        commands += f"; printf '%s' '{bench}' > bench; chmod +x bench; git add .; git commit -qm x"
    subprocess.run(["sh", "-ec", commands], cwd=folder, check=True)
    return folder


def test_github_actions(kernel, checkout, installed, tmp_path):
    workflow, steps = github_actions()
    assert next(iter(steps)) == "Install", "which has been run"
    steps.pop("Install")
    summary = tmp_path / "summary.md"
    summary.write_text("what the step wrote before\n")
    base = subprocess.run(["git", "rev-parse", "HEAD^"], cwd=checkout, check=True,
                          capture_output=True, text=True).stdout.strip()  # fmt: skip
    known = {"github.event.pull_request.base.sha": base}
    variables = workflow["env"] | {
        "BUILD": "true",
        "RUNS": "6",
        "RUNNER_TEMP": str(installed),
        "GITHUB_WORKSPACE": str(checkout),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    done = {}
    for name, one in steps.items():
        own = {k: re.sub(r"\$\{\{ (.*?) \}\}", lambda m: known[m[1]], v)
               for k, v in one.get("env", {}).items()}  # fmt: skip
        done[name] = run_step(one["run"], checkout, variables | own)
    codes = {name: one.returncode for name, one in done.items()}
    told = "\n".join(one.stdout[-2000:] + one.stderr[-2000:] for one in done.values())
    # Three times the memory: found, but for a machine that was busy just then.
    assert codes.pop("Worse than the base?") in (1, 5), told
    assert set(codes.values()) == {0}, told
    assert "::error title=" in done["Worse than the base?"].stdout
    assert len(series.load(str(installed / "runs-base"))) == 6
    text = summary.read_text()
    assert text.startswith("what the step wrote before\n") and text.count("\n## mmaplock-bt") == 2
    assert (installed / "budget.xml").exists() and (installed / "compared.xml").exists()


def test_gitlab(kernel, checkout, installed):
    job = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text())["mmap_lock"]
    variables = job["variables"] | {
        "TOOL": str(installed / "tool"),  # its cache
        "CI_PROJECT_DIR": str(checkout),
        "BUILD": "true",
        "RUNS": "2",
    }
    done = run_step("\n".join(job["script"]), checkout, variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((checkout / path).exists() for path in job["artifacts"]["reports"].values())
    assert (checkout / "metrics.txt").read_text().endswith("# EOF\n")
    assert len(series.load(str(checkout / "runs"))) == 2
