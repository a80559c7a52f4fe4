"""A head start: bpftrace compiles the script of the last such run while this one is made ready.

Reading the profile and rendering it takes as long as bpftrace needs to compile. So the words of a
run are remembered with what they came to. When they come again, that is started at once; the run is
made ready as ever, and what is running is used only if it is, to the letter, what would be started
now. Else it is ended, and only time is lost.

Imports little: it is the first thing that a run does.
"""

import hashlib
import os
from contextlib import suppress

from mmaplock_bt import BPFTRACE
from mmaplock_bt.machine import private_folder
from mmaplock_bt.tracing.held_command import HeldCommand
from mmaplock_bt.tracing.launch import Launch, Order

KEPT = 32  # orders; the oldest go
LIMIT_BYTES = 1 << 20
# They change nothing of the script, and often name a new file each time.
_ELSEWHERE = ("-o", "--output", "--save-raw", "--gate", "--budget", "--format")


class HeadStart:
    """What may be started before a run is ready: its bpftrace and its held command.

    Each is taken once, by who would start it; end() ends what nobody took.
    """

    def __init__(self, words: list[str], command: list[str]) -> None:
        self._file = _file(words, bool(command))
        self._launch: Launch | None = None
        self._command: HeldCommand | None = None
        order = _read(self._file)
        if order is None:
            return
        with suppress(OSError):  # whatever it is, the run will meet it again and say so
            self._command = HeldCommand(command) if command else None
            self._launch = Launch(order)
            own = os.getpid()
            root = self._command.pid if self._command else own
            self._launch.tell([self._launch.process.pid, own, root])

    def command(self, argv: list[str]) -> HeldCommand | None:
        """Returns the held command if it is this one."""
        if self._command is None or self._command.argv != argv:
            return None
        taken, self._command = self._command, None
        return taken

    def launch(self, order: Order) -> Launch | None:
        """Returns the started bpftrace if it is what the order would start; else ends it."""
        started, self._launch = self._launch, None
        if started is None or started.order == order:
            return started
        started.end()
        return None

    def remember(self, order: Order) -> None:
        """Keeps what this run came to for the next one with the same words."""
        if _read(self._file) == order:
            return
        with suppress(OSError):  # no memory is only slower
            _write(self._file, order)

    def end(self) -> None:
        """Ends what was started and not taken."""
        if self._launch is not None:
            self._launch.end()
        if self._command is not None:
            self._command.end()
        self._launch = self._command = None


def of(argv: list[str]) -> HeadStart | None:
    """Returns the head start of a command line; None for one that may have none."""
    at = argv.index("--") if "--" in argv else len(argv)
    # A command would inherit --ready-fd; --sudo and --user say how and as whom all is started.
    if any(word.startswith(("--r", "--su", "--u")) for word in argv[:at]):
        return None
    return HeadStart(argv[:at], argv[at + 1 :])


def _file(words: list[str], has_command: bool) -> str:
    """Where the order of such a run is kept, below the same folder as the trials' outcomes."""
    said = [os.environ.get(BPFTRACE, ""), str(has_command)]
    said += [
        word
        for word, before in zip(words, ["", *words], strict=False)
        if word not in _ELSEWHERE and before not in _ELSEWHERE
    ]
    name = hashlib.sha256("\0".join(said).encode(errors="surrogateescape")).hexdigest()[:16]
    # As resources.cache(), which pathlib and importlib.resources come with.
    home = os.environ.get("XDG_CACHE_HOME", "")
    if not home.startswith("/"):
        home = os.path.expanduser("~/.cache")  # noqa: PTH111
    if not home.startswith("/"):  # a user without a home
        home = os.devnull
    return f"{home}/mmaplock-bt/orders/{name}"


def _read(file: str) -> Order | None:
    """The order in a file that nobody else can have written, nor put in its place."""
    data = private_folder.read(file, LIMIT_BYTES)
    with suppress(ValueError):
        return None if data is None else _parsed(data)
    return None


def _parsed(data: bytes) -> Order:
    """Raises ValueError for what _write did not write."""
    words, settings, text = data.decode().split("\0\0")
    pairs = (setting.split("=", 1) for setting in settings.split("\0"))
    return Order(words.split("\0"), {name: value for name, value in pairs}, text)


def _write(file: str, order: Order) -> None:
    settings = (f"{name}={value}" for name, value in order.settings.items())
    text = "\0\0".join(["\0".join(order.words), "\0".join(settings), order.text])
    private_folder.write(file, text.encode())
    _forget_old(os.path.dirname(file))  # noqa: PTH120


def _forget_old(folder: str) -> None:
    with os.scandir(folder) as entries:
        by_age = sorted(entries, key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in by_age[KEPT:]:
        os.unlink(entry.path)  # noqa: PTH108
