"""What tools/kernels.py boots: a kernel, a root with bpftrace and Python, and the machine."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import roots

# One virtual CPU: with two, emulated kernels do not survive switching tracepoints on and off.
SAME = ("-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot")
KERNEL_LINE = "rdinit=/init panic=-1 mitigations=off random.trust_cpu=on quiet"


@dataclass(frozen=True)
class Machine:
    """A machine that qemu emulates; `platform` is what pip calls its wheels."""

    qemu: tuple[str, ...]
    kernel_line: str
    platform: str


MACHINES = {
    "amd64": Machine(
        ("qemu-system-x86_64", "-M", "q35", "-cpu", "max,la57=off"),
        "console=ttyS0 no_timer_check tsc=reliable",
        "x86_64",
    ),
    # One without pointer authentication, which takes emulation most of its time.
    "arm64": Machine(
        ("qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "cortex-a76"),
        "console=ttyAMA0",
        "aarch64",
    ),
}


@dataclass(frozen=True)
class Guest:
    """A suite's kernel (`flavour`: linux-image-FLAVOUR) with another's bpftrace and Python.

    With `tests`, words for pytest, these are run in it, and not the self-test.
    """

    kernel_suite: str
    root_suite: str
    flavour: str = "cloud-amd64"
    tests: tuple[str, ...] = ()
    about: str = ""  # what is special, for the compatibility table

    @property
    def architecture(self) -> str:
        return self.flavour.rpartition("-")[2]

    @property
    def machine(self) -> Machine:
        return MACHINES[self.architecture]

    @property
    def shown(self) -> str:
        """How the compatibility table calls it."""
        special = [part for part in self.flavour.split("-") if part not in ("cloud", "amd64")]
        return ", ".join(filter(None, [self.root_suite, *special, self.about, "emulated"]))

    def root(self) -> Path:
        if self.architecture == "amd64":
            return roots.root(self.root_suite)
        return roots.foreign_root(self.root_suite, self.architecture)

    def kernel(self) -> Path:
        return roots.kernel(self.kernel_suite, self.flavour)

    def busybox(self) -> Path:
        """One that runs there."""
        found = [*self.kernel().glob("usr/bin/busybox"), *self.kernel().glob("bin/busybox")]
        return found[0] if found else Path(shutil.which("busybox") or "")


# What differs where cgroups have one hierarchy only; of the rest the self-test is a sample.
OF_CGROUPS = (
    "tests/unit/machine/test_cgroups.py", "tests/unit/tracing/test_cgroup_paths.py",
    "tests/kernel/test_both_sides.py", "tests/kernel/test_filters.py", "-k",
    "test_cgroup or a_cgroup or a_container or only_what_is_asked or changes_the_cgroup",
)  # fmt: skip
# Bullseye's own Python is too old for the tool.
GUESTS = {
    "bullseye": Guest("bullseye", "bookworm"),
    "bookworm": Guest("bookworm", "bookworm"),
    "trixie": Guest("trixie", "trixie"),
    "sid": Guest("sid", "sid"),
    "bookworm-arm64": Guest("bookworm", "bookworm", "cloud-arm64"),
    "trixie-arm64": Guest("trixie", "trixie", "cloud-arm64"),
    "sid-arm64": Guest("sid", "sid", "cloud-arm64"),
    "bookworm-rt": Guest("bookworm", "bookworm", "rt-amd64"),
    "trixie-rt": Guest("trixie", "trixie", "rt-amd64"),
    "trixie-v2": Guest("trixie", "trixie", tests=OF_CGROUPS, about="cgroup v2 only"),
}
