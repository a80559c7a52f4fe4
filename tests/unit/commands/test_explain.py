"""explain: causes and terms in plain words; near names for unknown ones."""

import json

import pytest

from mmaplock_bt.spec import causes


def told(cli, *words: str) -> str:
    done = cli("explain", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_are_listed_within_a_terminal(cli):
    text = told(cli)
    one_line = " ".join(text.split())
    assert [n for n in (*causes.causes(), *causes.terms()) if n not in one_line] == []
    assert max(map(len, text.splitlines())) <= 80


def test_a_cause_is_told_with_remedies_their_sources_and_changes(cli):
    text = told(cli, "munmap")
    assert text.startswith("munmap: unmapping memory\n")
    for about in (*causes.cause("munmap").remedies, *causes.cause("munmap").changes):
        assert about.source in text
    assert "From Linux 4.20 on" in text


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("page", "fault"), "page fault"),
        (("PAGE FAULT",), "page fault"),
        (("smaps",), "smaps/maps/numa_maps"),
        (("MADV_NOHUGEPAGE",), "madvise(MADV_HUGEPAGE)"),
        (("madvise(MADV_DODUMP)",), "madvise"),
        (("mmap_sem",), "mmap_lock"),
    ],
)
def test_a_name_may_be_a_part_or_an_alias(cli, words, name):
    assert told(cli, *words).splitlines()[0].partition(":")[0] == name


@pytest.mark.parametrize(
    ("word", "near"), [("fokr", "'fork'"), ("smap", "'smaps"), ("downgarde", "'downgrade'")]
)
def test_an_unknown_name_is_2_with_near_ones(cli, word, near):
    done = cli("explain", word)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"'{word}' is no cause and no term" in done.stderr and near in done.stderr


def test_nothing_is_near_to_nonsense(cli):
    done = cli("explain", "\x1bqqqq")
    assert done.returncode == 2 and "mmaplock-bt explain" in done.stderr


def test_json_holds_the_same(cli):
    everything = json.loads(told(cli, "--json"))
    assert [one["name"] for one in everything["causes"]] == list(causes.causes())
    assert [one["name"] for one in everything["terms"]] == list(causes.terms())
    one = json.loads(told(cli, "--json", "fork"))
    assert one["terms"] == [] and one["causes"][0]["remedies"][0]["source"].startswith("https://")
