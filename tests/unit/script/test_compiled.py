"""Compiled templates are executed: only what this program wrote, where nobody else writes."""

import hashlib
import os

import pytest
from jinja2 import DictLoader, Environment

from mmaplock_bt.script.compiled import Compiled


@pytest.fixture
def rendered(tmp_path, monkeypatch):
    """Renders `{{ 'fi' ~ 've' }}` with what is kept; and the file that keeps it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def render(text: str = "{{ 'fi' ~ 've' }}") -> str:
        loader = DictLoader({"x": text})
        return Environment(loader=loader, bytecode_cache=Compiled()).get_template("x").render()

    assert render() == "five"
    (file,) = (tmp_path / "mmaplock-bt/templates").iterdir()
    return render, file


def test_what_was_compiled_is_used(rendered):
    """Another template's code in its place, as this program would have written it."""
    render, file = rendered
    code = file.read_bytes()[32:].replace(b"five", b"nine")
    file.write_bytes(hashlib.sha256(code).digest() + code)
    assert render() == "nine"


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda file: file.write_bytes(file.read_bytes().replace(b"five", b"nine")),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(bytes(100)),
        lambda file: file.chmod(0o666),
        lambda file: file.parent.chmod(0o777),
        lambda file: (file.unlink(), os.mkfifo(file)),
        lambda file: file.symlink_to(file.rename(file.parent.parent / "theirs")),
    ],
    ids=["damaged", "empty", "zeros", "file of all", "folder of all", "fifo", "link"],
)
def test_what_is_anything_else_is_compiled_anew(rendered, spoiled):
    render, file = rendered
    spoiled(file)
    assert render() == "five"
