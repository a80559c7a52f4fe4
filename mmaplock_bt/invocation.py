"""How this tool is called again from where it runs now: words that work as they are pasted.

Imports little: --help says it.
"""

# ruff: noqa: PTH100, PTH118, PTH119, PTH120, PTH121

import os
import os.path as _path
import shlex
import shutil
import sys

from mmaplock_bt import NAME

# What sudo's secure_path has on every distribution; RHEL's leaves out /usr/local/bin.
SUDO_FINDS = "/usr/sbin:/usr/bin:/sbin:/bin"
_RAISERS = ("sudo", "doas")


def words(*, as_root: bool = True) -> list[str]:
    """Returns the words that start this tool, without its arguments.

    The bare name only where it is found: on PATH, for others than root on sudo's own path. pipx, a
    virtual environment and a checkout lie on neither.
    """
    if os.geteuid() == 0 or not as_root:
        return _tool(os.environ.get("PATH", os.defpath))
    return [_raiser(), *_tool(SUDO_FINDS)]


def command(*arguments: str) -> str:
    """Returns the command line that starts this tool as root with arguments, quoted for a shell."""
    return shlex.join([*words(), *arguments])


def again() -> str:
    """Returns the command line that repeats this process as root, be it this tool or a test's."""
    if _is_ours():
        return command(*sys.argv[1:])
    raised = [] if os.geteuid() == 0 else [_raiser()]
    return shlex.join([*raised, sys.executable, *sys.orig_argv[1:]])


def _raiser() -> str:
    """What makes one root here; sudo where nothing is found, as the word that everybody knows."""
    return next((name for name in _RAISERS if shutil.which(name)), _RAISERS[0])


def _tool(path: str) -> list[str]:
    script = _script()
    if script is None:
        return [sys.executable, *_isolated(), "-m", "mmaplock_bt"]
    found = shutil.which(NAME, path=path)
    return [NAME] if found and _path.samefile(found, script) else [script]


def _script() -> str | None:
    """The console script that runs now, else the one beside this Python.

    Not resolved: pipx's link outlives the environment that it points into.
    """
    own = [shutil.which(sys.argv[0]) or sys.argv[0]] if _is_script() else []
    beside = _path.join(_path.dirname(sys.executable), NAME)
    return next((_path.abspath(one) for one in (*own, beside) if os.access(one, os.X_OK)), None)


def _isolated() -> list[str]:
    """-P: no module from the current folder, unless this one came from there."""
    checkout = _path.dirname(_path.dirname(_path.realpath(__file__)))
    return [] if checkout == _path.realpath(_path.curdir) else ["-P"]


def _is_script() -> bool:
    return _path.basename(sys.argv[0]) == NAME


def _is_ours() -> bool:
    return _is_script() or _path.dirname(sys.argv[0]) == _path.dirname(__file__)
