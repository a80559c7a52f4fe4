"""Builds the victim and the peers. What does not build is a sentence, and a row that says it."""

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
BTF = Path("/sys/kernel/btf/vmlinux")
MODULES = Path("/proc/modules")
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's python3-bpfcc is for no other one
TIMEOUT_S = 300
# Name -> what its programs are compiled with.
VARIANTS = {"c": (), "c-wait": ("-DWAIT",), "c-storage": ("-DTASK_STORAGE",)}


class MissingError(Exception):
    """A finished sentence: why a peer is not there."""


@dataclass
class Workshop:
    """`argv` has the command of what was built, `missing` the sentence of what was not."""

    work: Path
    headers: Callable[[], Path | None] = lambda: None  # a root with a kernel's headers, for BCC
    argv: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def build(self, *names: str) -> None:
        """Builds these of PRODUCTS."""
        for name in names:
            try:
                self.argv[name] = PRODUCTS[name](self)
            except MissingError as error:
                self.missing[name] = str(error)


def victim(shop: Workshop) -> tuple[str, ...]:
    """Linked statically: it also runs in other suites' roots. Raises MissingError."""
    built = shop.work / "victim"
    _run("cc", "-O2", "-Wall", "-static", "-pthread", str(HERE / "victim.c"), "-o", str(built))
    return (str(built),)


def _variant(name: str) -> Callable[[Workshop], tuple[str, ...]]:
    return lambda shop: _libbpf(shop.work, name, VARIANTS[name])


def _libbpf(work: Path, name: str, defines: tuple[str, ...]) -> tuple[str, ...]:
    """The BPF program, its skeleton, the loader."""
    folder, types = work / name, _types(work)
    folder.mkdir(exist_ok=True)
    program = folder / "hold.bpf.o"
    _run("clang", "-g", "-O2", "-target", "bpf", *defines, f"-I{types}", f"-I{PEERS}",
         "-c", str(PEERS / "hold.bpf.c"), "-o", str(program))  # fmt: skip
    skeleton = _run("bpftool", "gen", "skeleton", str(program), "name", "hold")
    (folder / "hold.skel.h").write_text(skeleton)
    _run("cc", "-O2", *defines, f"-I{folder}", str(PEERS / "hold.c"), "-o", str(folder / "hold"),
         "-lbpf")  # fmt: skip
    return (str(folder / "hold"),)


def _types(work: Path) -> Path:
    """Returns the folder with the running kernel's vmlinux.h."""
    if _event_has_path():
        raise MissingError("the peers read the tracepoints of Linux 6.14 and newer only")
    made = work / "vmlinux.h"
    if not made.exists():
        made.write_text(_run("bpftool", "btf", "dump", "file", str(BTF), "format", "c"))
    return work


def _event_has_path() -> bool:
    event = Path("/sys/kernel/tracing/events/mmap_lock/mmap_lock_released/format")
    return not event.exists() or "memcg_path" in event.read_text()


def _bcc(shop: Workshop) -> tuple[str, ...]:
    _run(SYSTEM_PYTHON, "-I", "-c", "import bcc")
    if (root := shop.headers()) is None:
        raise MissingError("BCC compiles with a kernel's headers, and there are none")
    offsets = shop.work / "offsets"
    _run("cc", "-w", f"-I{_types(shop.work)}", str(PEERS / "offsets.c"), "-o", str(offsets))
    words = (SYSTEM_PYTHON, "-I", str(PEERS / "hold_bcc.py"), *_run(str(offsets)).split())
    return ("env", f"BCC_KERNEL_SOURCE={_one_tree(root, shop.work)}", *words)


def _one_tree(root: Path, work: Path) -> Path:
    """Debian parts headers into what all flavours have and one flavour's own; BCC wants a tree."""
    tree = work / "headers"
    if tree.exists():
        return tree
    (common,) = root.glob("usr/src/linux-headers-*-common")
    (flavour,) = (path for path in root.glob("usr/src/linux-headers-*") if path != common)
    tree.mkdir()
    for part in (common, flavour):
        _run("cp", "-rT", "--remove-destination", str(part / "include"), str(tree / "include"))
        _run("cp", "-rT", "--remove-destination", str(part / "arch"), str(tree / "arch"))
    return tree


def _module(_: Workshop) -> tuple[str, ...]:
    """Built against Debian's headers for Debian's kernels, where it is checked."""
    if not MODULES.exists():
        raise MissingError("the running kernel takes no modules; bench-check loads it in others")
    raise MissingError("there are headers for Debian's kernels only, and they run emulated")


PRODUCTS: dict[str, Callable[[Workshop], tuple[str, ...]]] = {
    "victim": victim,
    **{name: _variant(name) for name in VARIANTS},
    "bcc": _bcc,
    "module": _module,
}


def _run(*words: str) -> str:
    """Returns what it printed. Raises MissingError with its last words."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise MissingError(f"{words[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise MissingError(f"{shlex.join(words)[:80]} took more than {TIMEOUT_S} s") from None
    if done.returncode:
        raise MissingError(f"{words[0]}: {_last_words(done.stderr or done.stdout)}")
    return done.stdout


def _last_words(text: str) -> str:
    """The first error of a compiler, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if "error:" in line.lower()), lines[-1])
