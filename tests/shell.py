"""The examples' shell steps, run as a CI would."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
Step = dict[str, Any]


def github_actions() -> tuple[dict[str, Any], dict[str, Step]]:
    """The workflow, and its shell steps by name."""
    workflow = yaml.safe_load((EXAMPLES / "github-actions.yml").read_text())
    steps = workflow["jobs"]["gates"]["steps"]
    return workflow, {one["name"]: one for one in steps if "run" in one}


def run_step(
    script: str, folder: Path, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """One step's shell; root needs no sudo."""
    shims = folder.parent / "shims"
    shims.mkdir(exist_ok=True)
    sudo = shims / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(sudo.stat().st_mode | stat.S_IXUSR)
    path = f"{shims}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | variables | {"PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
