"""Rounds, their noise and their tracers, with a shell script for a victim."""

import json

import pytest

from bench import quiet, tracer, workshop
from bench.contenders import HOLDER, Contender
from bench.quiet import Calm, noise
from bench.rounds import Bench
from bench.scenarios import SCENARIOS
from bench.tracer import RefusedError, Tracer
from tests.unit.bench.records import sample

CALM = Calm(before=5.0, after=5.1, best=5.0, pressure=0.1)


@pytest.fixture
def places(tmp_path):
    path = tmp_path / "victim"
    told = sample(5.0).model_dump_json()
    path.write_text(
        "#!/bin/sh\ncase $1 in\n"
        'hold) echo ready > "$2"; head -c1 "$3" > /dev/null ;;\n'
        f"price) echo '{told}' ;;\nesac\n"
    )
    path.chmod(0o755)
    return {"victim": (str(path),)}


def bench(places, **missing):
    return Bench(SCENARIOS[:1], places, missing, lambda _: None)


def test_a_round_of_two(places):
    one = bench(places)
    one.run([Contender("nothing", (HOLDER,)), Contender("env", ("env", HOLDER))], 3)
    names = [(turn.round, turn.name) for turn in one.turns]
    assert names == [(1, "nothing"), (1, "env"), (2, "env"), (2, "nothing"),
                     (3, "nothing"), (3, "env")]  # fmt: skip
    assert one.refusals == {}


def test_what_is_interrupted_keeps_its_whole_rounds(places, monkeypatch):
    take = Bench._take

    def until_the_second(one, number, contender):
        if (number, contender.name) == (2, "first"):
            raise KeyboardInterrupt
        take(one, number, contender)

    monkeypatch.setattr(Bench, "_take", until_the_second)
    one = bench(places)
    one.run([Contender("first", (HOLDER,)), Contender("second", (HOLDER,))], 3)
    assert [(turn.round, turn.name) for turn in one.turns] == [(1, "first"), (1, "second")]


def test_interrupted_in_the_first_round(places, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Bench, "_take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench(places).run([Contender("nothing", (HOLDER,))], 3)


def test_a_noisy_turn_is_repeated_and_then_marked(places, monkeypatch):
    told = iter([("loud",), (), ("loud",), ("less",), ("loud",)])
    unrest = iter([0.1, 0.2, 0.3, 0.1, 0.2])
    monkeypatch.setattr(quiet, "noise", lambda _: next(told))
    monkeypatch.setattr(Calm, "unrest", property(lambda _: next(unrest)))
    one = bench(places)
    one.run([Contender("nothing", (HOLDER,))], 2)
    assert [(turn.attempts, turn.noise) for turn in one.turns] == [(2, ()), (3, ("less",))]


def test_what_refuses_is_told_and_the_others_go_on(places):
    one = bench(places, bcc="bcc is not installed")
    one.run(
        [
            Contender("gone", ("/nonexistent/x", HOLDER)),
            Contender("failing", ("sh", "-c", "echo 'tool: error: no such option' >&2; exit 2")),
            Contender("BCC", ("{bcc}",), ready="line"),
            Contender("nothing", (HOLDER,)),
        ],
        1,
    )
    assert one.refusals == {
        "gone": "/nonexistent/x: No such file or directory",
        "failing": "tool: error: no such option",
        "BCC": "bcc is not installed",
    }
    assert [turn.name for turn in one.turns] == ["nothing"]


@pytest.mark.parametrize("script", ["echo '{\"batches\": 0}'", "exit 1", "echo"])
def test_a_victim_that_does_nothing_ends_a_turn_and_no_run(places, tmp_path, script):
    (tmp_path / "victim").write_text(f"#!/bin/sh\n{script}\n")
    one = bench(places)
    one.run([Contender("nothing", (HOLDER,))], 1)
    assert one.turns == []
    assert one.refusals["nothing"].startswith("the victim did not do its work (read-1, ")


def test_what_ends_while_it_is_measured_is_no_figure(places):
    script = """echo '{"ready": true}'; echo killed >&2"""
    one = bench(places)
    one.run([Contender("short", ("sh", "-c", script), ready="line")], 1)
    assert one.turns == []
    assert one.refusals == {"short": "it ended while it was measured: killed"}


def test_a_peer_is_ended_by_its_input_and_heard(places):
    script = """echo '{"ready": true}'; cat > /dev/null; echo '{"output": "owners"}'"""
    with Tracer(Contender("peer", ("sh", "-c", script), ready="line"), places, {}) as peer:
        printed = peer.output()
    assert [json.loads(line) for line in printed.splitlines()][1] == {"output": "owners"}


def test_what_does_not_end_is_killed(places, monkeypatch):
    monkeypatch.setattr(tracer, "END_S", 0.01)
    script = """echo '{"ready": true}'; exec sleep 1000"""
    with Tracer(Contender("stuck", ("sh", "-c", script), ready="line"), places, {}) as stuck:
        pass
    assert stuck._process.returncode == -9


def test_what_never_gets_ready_is_refused(places, monkeypatch):
    monkeypatch.setattr(tracer, "READY_S", 0.0)
    monkeypatch.setattr(tracer, "END_S", 0.01)
    with pytest.raises(RefusedError, match="not live"):
        Tracer(Contender("slow", ("sleep", "1000"), ready="line"), places, {}).__enter__()


@pytest.mark.parametrize(
    ("calm", "told"),
    [
        (CALM, ()),
        (Calm(6.0, 6.0, 5.0, 0.1), ("untraced 20% over the run's best",)),
        (Calm(5.0, 6.0, 5.0, 0.1), ("untraced before and after differ by 20%",)),
        (Calm(5.0, 5.0, 5.0, 0.9), ("CPU pressure 90%",)),
        (Calm(5.0, 5.0, 5.0, None), ()),
        (Calm(5.0, 5.0, 5.0, 0.0, ("perf",)), ("another tracer: perf",)),
    ],
)
def test_noise(calm, told):
    assert noise(calm) == told


def test_unrest():
    assert Calm(5.0, 6.0, 4.0, None).unrest == 0.5


def test_other_tracers_are_found_by_name(tmp_path):
    for pid, name in (("1", "init"), ("7", "bpftrace"), ("self", "perf")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "comm").write_text(f"{name}\n")
    assert quiet.tracers(tmp_path) == ("bpftrace",)


def test_a_peer_whose_compiler_is_not_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(workshop, "_event_has_path", lambda: False)
    shop = workshop.Workshop(tmp_path)
    shop.build(*workshop.PRODUCTS)
    assert set(shop.missing) == set(workshop.PRODUCTS)
    assert shop.missing["victim"] == "cc is not installed"
    assert shop.missing["c"] == "bpftool is not installed"
    assert all("\n" not in sentence for sentence in shop.missing.values())


def test_a_compilers_first_error_is_the_sentence(tmp_path, monkeypatch):
    fake = tmp_path / "cc"
    fake.write_text("#!/bin/sh\nprintf 'x.c: note: a\\nx.c:1: error: b\\n1 error\\n' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    shop = workshop.Workshop(tmp_path)
    shop.build("victim")
    assert shop.missing["victim"] == "cc: x.c:1: error: b"
