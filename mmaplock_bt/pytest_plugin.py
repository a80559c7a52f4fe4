"""pytest plugin: traces a block of a test, or a whole marked test, and asserts gates on it.

    def test_restart(mmaplock):
        with mmaplock("hold{mode=write}.p99 < 5ms") as traced:
            restart()
        assert traced.result.books.downgrades == 0

    @pytest.mark.mmaplock("long_holds.count == 0", profile="long-holds")
    def test_import(): ...

Traced are the address spaces of this process and its descendants, whoever takes the locks. A test
is skipped, with the reason, where tracing is impossible or a gate is inconclusive; it fails only
where a gate was measured and failed. `mmaplock_inconclusive = fail` in pytest's configuration makes
inconclusive gates fail too.
"""

import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mmaplock_bt.result.model import Result, Verdict

INCONCLUSIVE = "mmaplock_inconclusive"
PROFILE = "hold-times"
PATIENCE_S = 60
WRONG_USAGE = 2


class MmapLockWarning(UserWarning):
    """A gate of level `warn` that did not pass."""


@dataclass
class Traced:
    """What `with mmaplock(...) as traced` yields; `result` is there once the block has ended."""

    _results: "list[Result]" = field(default_factory=list)

    @property
    def result(self) -> "Result":
        """The window's result. Raises RuntimeError while the block still runs."""
        if not self._results:
            raise RuntimeError("the result is there when the traced block has ended")
        return self._results[0]


Tracing = Callable[..., AbstractContextManager[Traced]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the option `mmaplock_inconclusive`."""
    parser.addini(
        INCONCLUSIVE, "what a test does whose gates are inconclusive: skip or fail", default="skip"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker; raises UsageError for a wrong value of the option."""
    config.addinivalue_line(
        "markers",
        "mmaplock(*gates, profile='hold-times', budget=None, min_samples=1, settings=()): "
        "trace the test's mmap_lock and assert these gates",
    )
    if config.getini(INCONCLUSIVE) not in ("skip", "fail"):
        raise pytest.UsageError(f"{INCONCLUSIVE} is skip or fail")


@pytest.fixture
def mmaplock(request: pytest.FixtureRequest) -> Tracing:
    """Returns `mmaplock(*gates, profile=, budget=, min_samples=, settings=)`, a context manager.

    It traces its block, then fails, skips or warns by the gates.
    """

    def traced(*gates: str, **options: Any) -> AbstractContextManager[Traced]:
        caller = sys._getframe(1)
        place = _Place(Path(caller.f_code.co_filename), caller.f_lineno)
        return _traced(request.node, _Wanted(gates, **options), place)

    return traced


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Traces a marked test's call phase; fixtures are set up before and torn down after."""
    marker = item.get_closest_marker("mmaplock")
    if marker is None:
        return (yield)
    path, line, _ = item.reportinfo()
    with _traced(item, _Wanted(marker.args, **marker.kwargs), _Place(Path(path), (line or 0) + 1)):
        return (yield)


@dataclass(frozen=True)
class _Place:
    """Where a test asks for tracing: the block's line, or the marked test's."""

    file: Path
    line: int

    def told(self, config: pytest.Config) -> str:
        """As pytest writes it, and editors and CI find it: from the root folder on."""
        is_below = self.file.is_relative_to(config.rootpath)
        return f"{self.file.relative_to(config.rootpath) if is_below else self.file}:{self.line}"


@dataclass(frozen=True)
class _Wanted:
    """What is traced and asserted, named as on the command line."""

    gates: Sequence[str] = ()
    profile: str = PROFILE
    budget: str | None = None
    min_samples: int = 1
    settings: Sequence[str] = ()

    def words(self, saved: Path) -> list[str]:
        words = ["run", self.profile, "-p", str(os.getpid()), "--descendants", "-o", str(saved)]
        words += ["--min-samples", str(self.min_samples)] if self.min_samples != 1 else []
        words += ["--budget", self.budget] if self.budget else []
        words += [word for gate in self.gates for word in ("--gate", gate)]
        return words + [word for setting in self.settings for word in ("--set", setting)]


@contextmanager
def _traced(item: pytest.Item, wanted: _Wanted, place: _Place) -> Iterator[Traced]:
    """Runs the tool beside this process: from when its probes are live to the block's end."""
    traced = Traced()
    with tempfile.TemporaryDirectory(prefix="mmaplock-bt-") as folder:
        saved, said = Path(folder, "result.json"), Path(folder, "stderr")
        tool = _start(wanted.words(saved), said, place.told(item.config))
        try:
            yield traced
        finally:
            tool.send_signal(signal.SIGINT)
            _wait(tool)
        if not saved.exists():
            pytest.skip(f"{place.told(item.config)}: mmap_lock was not traced: {_last(said)}")
        _conclude(item, traced, saved.read_text(encoding="utf-8"), place)


def _start(words: list[str], said: Path, place: str) -> subprocess.Popen[bytes]:
    """Starts the tool and returns when the window is open; skips the test where it cannot be."""
    ready, told = os.pipe()
    argv = [sys.executable, "-P", "-m", "mmaplock_bt", *words, "--format", "none", "-q"]
    with said.open("wb") as stderr:
        tool = subprocess.Popen(
            [*argv, "--ready-fd", str(told)],
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=[told],
            start_new_session=True,  # Ctrl-C is pytest's
        )
    # The tool holds the only write end now: where it ends without a line, the read below ends too.
    os.close(told)
    with os.fdopen(ready) as waited_for:
        if waited_for.read():
            return tool
    _wait(tool)
    if tool.returncode == WRONG_USAGE:
        pytest.fail(f"{place}: {_last(said)}", pytrace=False)
    pytest.skip(f"{place}: mmap_lock cannot be traced: {_last(said)}")


def _wait(tool: subprocess.Popen[bytes]) -> None:
    try:
        tool.wait(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        tool.kill()
        tool.wait()


def _last(said: Path) -> str:
    """The sentence with which the tool ended."""
    text = said.read_text(encoding="utf-8", errors="replace")
    return text.strip().rpartition("mmaplock-bt: ")[2]


def _conclude(item: pytest.Item, traced: Traced, text: str, place: _Place) -> None:
    """Fails, skips or warns by the verdicts, each with its place in the test."""
    # Imported here: every pytest run of the environment loads this module, also without the marker.
    from mmaplock_bt.renderers.findings import sentences  # noqa: PLC0415
    from mmaplock_bt.result.saved import from_json  # noqa: PLC0415

    traced._results.append(from_json(text))
    told = [(verdict, _sentence(verdict)) for verdict in traced.result.verdicts]
    item.user_properties += [("mmaplock", sentence) for _, sentence in told]
    unmet = [(verdict, sentence) for verdict, sentence in told if verdict.outcome != "pass"]
    for verdict, sentence in unmet:
        if verdict.level == "warn":
            warnings.warn_explicit(MmapLockWarning(sentence), None, str(place.file), place.line)
    at = place.told(item.config)
    bad = [(said.outcome, f"{at}: {text}") for said, text in unmet if said.level == "error"]
    is_strict = item.config.getini(INCONCLUSIVE) == "fail"
    if any(is_strict or outcome == "fail" for outcome, _ in bad):
        said = [sentence for _, sentence in bad]
        pytest.fail("\n".join([*said, *sentences(traced.result)]), pytrace=False)
    if bad:
        pytest.skip("; ".join(sentence for _, sentence in bad))


def _sentence(verdict: "Verdict") -> str:
    from mmaplock_bt.renderers.wording import explained  # noqa: PLC0415

    own = f" ({verdict.file}:{verdict.line})" if verdict.file and verdict.line else ""
    return f"{verdict.outcome}: {verdict.gate}{own}, {explained(verdict)}"
