"""What a template can reach: plain data, and functions of our own that cannot be looked into."""

import os
import types

import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import inventory
from mmaplock_bt.script import check, context, jail, render
from mmaplock_bt.script.sandbox import PlainEnvironment
from mmaplock_bt.spec import declaration, profile

PLAIN = (int, str, bool, type(None))
FOLDERS = (dict, list, tuple, set, frozenset)
HEAD = """{#
question: q
outputs: {x: {kind: counter, title: t}}
#}
{% extends "_mmap_lock.bt.j2" %}
{% block hold_ended %}
{{ record("x") }}
"""


def foreign(value, path):
    """Every object in it, however deep, that is neither plain data nor a function of our own."""
    if type(value) in FOLDERS:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in pairs:
            yield from foreign(one, f"{path}.{key}")
            yield from foreign(key, f"{path}.{key}'s key")
    elif isinstance(value, types.FunctionType):
        if value.__module__ != context.__name__:
            yield path, value
        if value.__name__ == "find":
            for name in value.__closure__[0].cell_contents:
                if isinstance(name, str):
                    yield from foreign(_found(value, name), f"{path}({name})")
    elif type(value) not in PLAIN:
        yield path, value


def _found(find, name):
    try:
        return find(name)
    except UsageError:
        return None


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("name", profile.names())
def test_all_that_a_template_is_given_is_plain_data(name, by_hand):
    """A model of pydantic's among it led to pickle: a template ran Python as root."""
    chosen = profile.load(name)
    filtered = {"owner": {"pid": [5, 6], "comm": "x", "descendants": True}, "actor": {"pid": 7}}
    chosen = chosen.__class__(**vars(chosen) | {"filter": profile.merge(chosen.filter, filtered)})
    given = context.given(chosen, 2, dict(render.NO_FACTS) | {"user_registers": "x86_64"},
                          tree=True, by_hand=by_hand)  # fmt: skip
    assert list(foreign(given, "")) == []
    environment = PlainEnvironment(chosen.template)
    assert environment.globals.keys() == {"range", "namespace"}


def test_the_walk_finds_a_model():
    chosen = profile.load("blame")
    assert [path for path, _ in foreign({"a": [{"filter": chosen.filter}]}, "")] == [".a.0.filter"]


def rendered(text):
    used = declaration.parse(f"{HEAD}{text}\n{{% endblock %}}\n", "x", "x.bt.j2")
    return render.render(profile.Profile("x", used), inventory.offline()).text


def test_what_templates_of_users_need_is_there():
    text = rendered(
        "{% set seen = namespace(n=0) %}{% for one in [3, 1, 2] | sort %}"
        "{% set seen.n = seen.n + one %}{{ '// first ' ~ one if loop.first }}{% endfor %}"
        "\n// {{ seen.n }} {{ facts.missing is defined }} {{ cpus }} {{ '5' | int + 1 }}"
    )
    assert "// first 1" in text and f"// 6 False {inventory.offline().cpus} 6" in text


def test_an_error_has_its_line():
    with pytest.raises(UsageError, match=r"x\.bt\.j2:8 does not render: 'nothing' is undefined"):
        rendered("{{ nothing }}")


def test_a_template_of_a_users_leaves_no_compiled_code(tmp_path, monkeypatch):
    """What is kept there is executed later; that of the shipped ones is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tmp_path.chmod(0o700)
    rendered("")
    kept = {path.name for path in (tmp_path / "mmaplock-bt/templates").iterdir()}
    assert len(kept) == len(check.PARTS)
    render.render(profile.load("blame"), inventory.offline())
    assert len(list((tmp_path / "mmaplock-bt/templates").iterdir())) == len(kept) + 1


def confined(work):
    return jail.confined(work, "the work")


def test_the_jail_has_no_files_no_children_and_is_nobody():
    def tried(what, *given):
        try:
            what(*given)
        except OSError as error:
            return error.strerror
        return "done"

    def work():
        held = [n for n in range(64) if tried(os.fstat, n) == "done"]
        able = [tried(os.open, "/dev/null", os.O_RDONLY), tried(os.pipe)]
        return f"{held} {able} {os.getresuid()} {os.getgroups()}"

    said = confined(work)
    assert said.startswith("[3] ['Too many open files', 'Too many open files']")
    if os.geteuid() == 0:
        assert said.endswith("(65534, 65534, 65534) []")
        assert confined(lambda: tried(os.fork)) == "Resource temporarily unavailable"


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (lambda: "x" * (2 << 20), "becomes too long: at most 1 MiB"),
        (lambda: "x" * (1 << 30), "takes too much memory"),
        (lambda: "x" * (10**10**10), "takes too long: more than 0.2 s"),
        (lambda: os.kill(os.getpid(), 9), "takes more than a template may"),
        (lambda: os._exit(0), "takes more than a template may"),
    ],
)
def test_what_the_jail_ends(work, says, monkeypatch):
    monkeypatch.setattr(jail, "CPU_S", 0.2)
    with pytest.raises(UsageError, match=says):
        confined(work)


def test_the_jail_leaves_no_child_when_it_is_interrupted(monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(jail, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        confined(lambda: "x" * (10**10**10))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
