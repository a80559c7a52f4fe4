"""Writes docs/causes.md from causes.yaml: python tools/cause_docs.py [--check]."""

import sys
from collections.abc import Iterator
from pathlib import Path

import written

from mmaplock_bt.commands.explain import told
from mmaplock_bt.spec import causes
from mmaplock_bt.spec.causes import Cause

FILE = Path(__file__).resolve().parent.parent / "docs/causes.md"
INTRODUCTION = """\
# Causes and terms

Written by `python tools/cause_docs.py` from `mmaplock_bt/causes.yaml`; a test compares.
`mmaplock-bt explain NAME` prints the same.

A cause says what a thread did when it held mmap_lock. It is told from the thread's kernel stack:
the innermost function that names a path into the kernel decides. For madvise the stack at a hold's
end is mostly the same whatever the advice was; on x86-64 and arm64 the registers with which the
thread called tell it. A stack that nothing is known of is called
`other(function < caller < its caller)`; an excerpt of it in an issue helps to name it.
"""
STACKS = """\
## How far to trust a stack

- `kernel_stack` of a hold is taken when the hold **ends**, in the thread that lets go. What it did
  meanwhile (waited for a disk, reclaimed memory) is no longer on it. `current_stack` is taken while
  an open wait or hold **lasts**. Reports for people leave out the frames by which every thread
  enters the kernel (`do_syscall_64` and its like); the result file keeps all.
- `user_stack` follows frame pointers. A program or library that was built without them
  (`-fomit-frame-pointer`, the default of most compilers) ends the stack, or is left out of it.
- **The direct caller of a libc wrapper is missing.** `munmap` and its like in libc make no frame of
  their own, so that the frame pointer is still the caller's: the first frame is the wrapper, the
  second is the caller's caller, also where all code was built with `-fno-omit-frame-pointer`.
- Code that was compiled while the program ran (JIT) has no file. Its frames are named where the
  program writes `/tmp/perf-PID.map`: node with `--perf-basic-prof`, the JVM with perf-map-agent or
  `jcmd PID Compiler.perfmap` (JDK 17 and newer), Python 3.12 and newer with `-X perf`. The file
  must be a regular one of at most 64 MiB, belong to the process's user or to root, and not be older
  than the process. The frame says `(perf map)`: the program itself gave the name.
- Where bpftrace runs in a PID namespace of its own, and before Linux 6.17 (where reading
  `/proc/PID/maps` takes mmap_lock), user frames stay addresses.
"""


def text() -> str:
    """Returns the whole page."""
    parts = [INTRODUCTION, "## Causes\n"]
    parts += ["\n".join(_cause(one)) for one in causes.causes().values()]
    parts += ["## Terms\n", "\n".join(_terms()), STACKS]
    return "\n".join(parts).rstrip() + "\n"


def _cause(cause: Cause) -> Iterator[str]:
    yield f"### {_escaped(cause.name)}\n"
    yield f"It was **{_escaped(cause.plain)}**. {_escaped(cause.means)}\n"
    for remedy in cause.remedies:
        yield f"- {_escaped(' '.join(told(remedy)))} [source]({remedy.source})"
    for change in cause.changes:
        head = f"- *From Linux {change.kernel} on*:"
        yield f"{head} {_escaped(change.what)} [source]({change.source})"
    if cause.remedies or cause.changes:
        yield ""


def _terms() -> Iterator[str]:
    for term in causes.terms().values():
        also = f" ({', '.join(map(_escaped, term.also))})" if term.also else ""
        yield f"- **{_escaped(term.name)}**{also}: {_escaped(term.means)}"
    yield ""


def _escaped(words: str) -> str:
    return words.replace("_", r"\_").replace("<", "&lt;").replace("~", r"\~")


if __name__ == "__main__":
    sys.exit(written.main(sys.argv[1:], {FILE: text()}))
