"""What tests of both kinds use; the rest stands in unit/conftest.py and kernel/conftest.py."""

import os
import signal
import tempfile
import textwrap

import pytest
from hypothesis import settings

# Every run of the tool would compile the whole package: root leaves no bytecode in the checkout.
if "PYTHONPYCACHEPREFIX" not in os.environ:
    bytecode = tempfile.TemporaryDirectory(prefix="bytecode-")  # until this process ends
    os.environ["PYTHONPYCACHEPREFIX"] = bytecode.name
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile("any machine", deadline=None)  # how long a case takes proves nothing
settings.load_profile("any machine")
for name in ("SUDO_UID", "SUDO_GID", "DOAS_USER"):  # `make test` by a user: not for whom tests work
    os.environ.pop(name, None)
# Under nohup, or in a shell's background, all that the tests start would ignore them, too: no
# reload and no end would come.
for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        normal = signal.default_int_handler if ignored is signal.SIGINT else signal.SIG_DFL
        signal.signal(ignored, normal)
pytest_plugins = ["pytester"]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Makes a shell script that stands for bpftrace, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where refused scripts are kept

    def make(body: str) -> str:
        path = tmp_path / "bpftrace-fake"
        path.write_text(f"#!/bin/sh\n{textwrap.dedent(body)}")
        path.chmod(0o755)
        return str(path)

    return make
