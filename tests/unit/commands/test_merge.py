"""The command `merge`."""

import builtins
import json

import duckdb
import pytest

from mmaplock_bt.commands import merge
from mmaplock_bt.renderers import hosts
from mmaplock_bt.result.saved import to_json
from tests.builders import CONTROLS, HOSTILE
from tests.unit import test_hostile_results
from tests.unit.fleet.fleets import FLEET, merged, saved, window
from tests.unit.test_escaping import is_harmless

TEXT = f"{HOSTILE}::error::x ##[add-path]x \u202e"
BROKEN = {
    "empty": "",
    "no JSON": "x",
    "a list": "[]",
    "cut off": to_json(window())[:-20],
    "of a later schema": to_json(window()).replace('"schema": 2', '"schema": 3'),
    "of another tool": '{"schema": 2}',
    "huge numbers": to_json(window()).replace(
        '"duration_ns": 1000000000', f'"duration_ns": {10**25}'
    ),
}


def test_the_table(cli, tmp_path):
    done = cli("merge", str(saved(tmp_path)))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "3 hosts, 4 windows of 5.00 s in all; by share of time waited"
    head = lines.index(next(line for line in lines if line.startswith("host ")))
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["web1", "web2", "db1"]
    assert lines[head + 1].split()[1:6] == ["2", "3.00", "s", "2.00", "ms"]
    assert "web1: 1 of 2 windows incomplete: lost events 23, map full 5" in done.stdout
    assert "All hosts: all locks" in lines
    assert "1.00 ms  1.00 ms      2  mysqld  agent    smaps" in done.stdout.replace("µ", "u")
    assert max(map(len, lines)) < 100
    more = cli("merge", str(tmp_path / "runs"), "-v", "--rank", "hold").stdout
    assert "by longest hold" in more and "db1: all locks" in more.splitlines()


def test_json_and_parquet(cli, tmp_path):
    runs, parquet, kept = str(saved(tmp_path)), tmp_path / "f.parquet", tmp_path / "f.json"
    done = cli("merge", runs, "--json", "-o", str(parquet), "-o", str(kept))
    assert (done.returncode, done.stderr) == (0, "")
    assert kept.read_text() == done.stdout
    told = json.loads(done.stdout)
    assert [host["host"] for host in told["hosts"]] == ["web1", "web2", "db1"]
    assert told["hosts"][0]["waited_ns"] == 2_000_027 and told["skipped"] == []
    read = next(h for h in told["histograms"] if (h["output"], h["mode"]) == ("hold", "read"))
    assert read["count"] == sum(n for _, _, n in read["buckets"]) == 104
    assert duckdb.sql(f"SELECT count(*), sum(waited_ns) FROM '{parquet}'").fetchall() == [
        (4, 2_000_530)
    ]


def test_nothing_is_written_over(cli, tmp_path):
    runs, parquet = str(saved(tmp_path)), tmp_path / "f.parquet"
    parquet.write_text("mine")
    done = cli("merge", runs, "-o", str(parquet))
    assert done.returncode == 2 and "is there already" in done.stderr
    assert parquet.read_text() == "mine" and done.stdout == ""
    assert cli("merge", runs, "-o", str(parquet), "--force").returncode == 0
    assert parquet.read_bytes().startswith(b"PAR1")
    wrong = cli("merge", runs, "-o", str(tmp_path / "f.csv"))
    assert wrong.returncode == 2 and ".parquet, .json, .txt" in wrong.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"f.parquet", "runs"}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_told_and_the_rest_goes_on(cli, tmp_path, text):
    runs = saved(tmp_path)
    good = cli("merge", str(runs), "--json")
    broken = runs / "host=web1" / "broken.json"
    broken.write_text(text)
    done = cli("merge", str(runs), "--json")
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1 and str(broken) in done.stderr
    told, before = json.loads(done.stdout), json.loads(good.stdout)
    assert len(told["skipped"]) == 1 and str(broken) in told["skipped"][0]
    assert told["notes"] == ["1 of 5 files was not read"]
    assert told | {"skipped": [], "notes": []} == before
    alone = cli("merge", str(broken))
    assert alone.returncode == 2 and alone.stdout == ""
    assert "none of 1 file can be merged" in alone.stderr


def test_many_broken_files_are_told_in_few_lines(cli, tmp_path):
    runs = saved(tmp_path)
    for number in range(merge.TOLD + 7):
        (runs / f"{number}.json").write_text("")
    done = cli("merge", str(runs))
    assert done.returncode == 0 and len(done.stderr.splitlines()) == merge.TOLD + 1
    assert "and 7 files more that were not read" in done.stderr
    assert "note: 27 of 31 files were not read" in done.stdout


def test_a_copy_counts_once(cli, tmp_path):
    runs = saved(tmp_path, {"a": [FLEET["web1"][0]] * 2, "b": [FLEET["web1"][0]]})
    done = cli("merge", str(runs), "--json")
    assert [host["windows"] for host in json.loads(done.stdout)["hosts"]] == [1, 1]
    assert done.stderr.count("the same window as") == 1


def test_an_old_result_is_read(cli, tmp_path):
    place = tmp_path / "web1"
    place.mkdir()
    old = json.loads(to_json(FLEET["web1"][0]))
    del old["declarations"]
    for output in old["outputs"].values():
        output["keys"] = output["keys"]
    (place / "old.json").write_text(json.dumps(old | {"schema": 1}))
    told = json.loads(cli("merge", str(place), "--json").stdout)
    assert told["hosts"][0]["host"] == "web1" and told["hosts"][0]["waited_ns"] == 2_000_027


def test_hostile_names_are_harmless(cli, tmp_path):
    runs = tmp_path / "runs"
    name = TEXT.replace("/", "")
    (runs / f"host={name}").mkdir(parents=True)
    charges = {(TEXT + CONTROLS, TEXT, TEXT): [5]}
    lost = {"lost_events": 3, "lost_lines": {TEXT: 3}}
    (runs / f"host={name}" / "1.json").write_text(to_json(window(charges=charges, **lost)))
    (runs / f"host={name}" / "2.json").write_text("x")
    for words in ((), ("-v",), ("--json",)):
        done = cli("merge", str(runs), *words)
        assert done.returncode == 0
        assert is_harmless(done.stdout) and is_harmless(done.stderr)
        assert len(done.stderr.splitlines()) == 1
    assert json.loads(cli("merge", str(runs), "--json").stdout)["pairs"][0]["culprit"] == TEXT


def test_without_duckdb(cli, tmp_path, monkeypatch):
    real = builtins.__import__

    def lacking(name, *rest, **more):
        if name == "duckdb":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", lacking)
    done = cli("merge", str(saved(tmp_path)))
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "mmaplock-bt: merge needs duckdb: install mmaplock-bt[merge], or duckdb itself\n"
    )


@pytest.mark.parametrize("width", ["40", "80"])
def test_no_figure_is_cut(width, tmp_path):
    """Names are folded on a narrow terminal; where that is not enough, lines are longer."""
    long = {"a-host.with-a-rather-long.name.example.com": FLEET["web2"]}
    text = hosts.render(merged({**FLEET, **long}), width=int(width))
    assert "…" not in text
    assert all(figure in text for figure in ("15.5 ms", "98.3–105 µs", "14.7–15.5 ms", "3.00 s"))
    assert width == "40" or max(map(len, text.splitlines())) <= 80


def test_what_is_left_out_is_counted(cli, tmp_path):
    fleet = {
        f"h{n}": [window(charges={(f"v{n}", "c", "why"): [5]})] for n in range(hosts.FIRST + 3)
    }
    runs = str(saved(tmp_path, fleet))
    text = cli("merge", runs).stdout
    assert text.count("… and 3 more (-v shows more, --json all)") == 2
    assert "… and" not in cli("merge", runs, "-v").stdout


def test_hostile_results_are_told_or_merged(cli, tmp_path):
    """Each of its own host, so that none is passed over as a copy; beside one that is good."""
    runs = saved(tmp_path)
    hostile = {**test_hostile_results.FILES, **test_hostile_results.CHANGED}
    for number, text in enumerate(hostile.values()):
        place = runs / f"host=h{number}"
        place.mkdir()
        (place / "r.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    done = cli("merge", str(runs), "--json", "-o", str(tmp_path / "f.parquet"))
    told = json.loads(done.stdout)
    assert done.returncode == 0 and is_harmless(done.stdout) and is_harmless(done.stderr)
    assert len(told["hosts"]) + len(told["skipped"]) == len(FLEET) + len(hostile)
    assert len(told["skipped"]) > len(hostile) / 2
    assert {"web1", "web2", "db1"} <= {host["host"] for host in told["hosts"]}
    assert duckdb.sql(f"SELECT count(DISTINCT host) FROM '{tmp_path}/f.parquet'").fetchall() == [
        (len(told["hosts"]),)
    ]
