"""The plugin in a pytest of its own: evidence fails, everything else is told."""

import fnmatch

import pytest

pytestmark = pytest.mark.kernel

BODY = """\
import mmap, pytest

def maps(count):
    for _ in range(count):
        with mmap.mmap(-1, 4096) as memory:
            memory[0] = 1

def test_block(mmaplock):
    maps(1009)
    with mmaplock("hold{mode=write}.max < 10s", "hold{mode=write}.count >= 202") as traced:
        maps(101)
    maps(1009)
    assert 101 <= traced.result.books.downgrades < 300
    assert traced.result.books.residue == 0

@pytest.mark.mmaplock("hold{mode=write}.count < 3", "hold.max < 10s")
def test_too_many():
    maps(101)

@pytest.mark.mmaplock("hold{owner_comm=nobody}.max < 10s")
def test_nothing():
    maps(1)

@pytest.mark.mmaplock("hold.count < 1")
def test_own_failure_comes_first():
    assert maps(1) == "something else"

@pytest.mark.mmaplock("warn: hold.count < 1")
def test_warned():
    maps(1)

@pytest.mark.mmaplock("hold.p98 < 5ms")
def test_wrong_gate():
    pass

@pytest.mark.mmaplock("hold.max < 10s", budget="budget.yaml")
def test_budget():
    maps(101)

@pytest.mark.mmaplock("long_holds.count >= 101", profile="long-holds", settings=["threshold=0"])
def test_other_profile():
    maps(101)

def test_too_early(mmaplock):
    with mmaplock() as traced:
        with pytest.raises(RuntimeError, match="has ended"):
            traced.result
"""


def test_a_test_fails_only_on_evidence(pytester, kernel, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    test = pytester.makepyfile(BODY)
    pytester.path.joinpath("budget.yaml").write_text("gates:\n\n  - hold{mode=write}.count < 2\n")
    done = pytester.runpytest_subprocess("-rA", "-W", "default")
    done.assert_outcomes(passed=4, failed=4, skipped=1, warnings=1)
    lines = {text: n for n, text in enumerate(BODY.splitlines(), 1)}
    marked, wrong, budget, nothing, warned = (
        f"{test.name}:{lines[f'@pytest.mark.mmaplock({words})']}"
        for words in (
            '"hold{mode=write}.count < 3", "hold.max < 10s"',
            '"hold.p98 < 5ms"',
            '"hold.max < 10s", budget="budget.yaml"',
            '"hold{owner_comm=nobody}.max < 10s"',
            '"warn: hold.count < 1"',
        )
    )
    for line in (
        f"FAILED*test_too_many - Failed: {marked}: fail: hold{{mode=write}}.count < 3, observed*",
        f"SKIPPED*{nothing}: inconclusive: hold{{owner_comm=nobody}}.max < 10s*no sample was seen*",
        "FAILED*test_own_failure_comes_first - AssertionError*",
        f"FAILED*test_wrong_gate - Failed: {wrong}: --gate:1:6: hold: 'p98' is unknown*",
        f"FAILED*test_budget - Failed: {budget}: fail: hold{{mode=write}}.count < 2 "
        "(budget.yaml:3), observed*",
        f"*{warned}: MmapLockWarning: fail: hold.count < 1*",
    ):
        assert fnmatch.filter(done.stdout.lines, line), line


def test_a_blocks_failure_tells_the_blocks_line(pytester, kernel, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    test = pytester.makepyfile(
        BODY
        + """

def test_late(mmaplock):
    assert True
    with mmaplock("hold{mode=write}.count < 3"):
        maps(101)
"""
    )
    line = BODY.count("\n") + 5
    done = pytester.runpytest_subprocess("-k", "test_late")
    done.assert_outcomes(failed=1)
    wanted = f"FAILED*test_late - Failed: {test.name}:{line}: fail: hold{{mode=write}}.count < 3*"
    assert fnmatch.filter(done.stdout.lines, wanted), done.stdout.str()


def test_inconclusive_may_be_made_to_fail(pytester, kernel):
    pytester.makepyfile(BODY)
    pytester.makeini("[pytest]\nmmaplock_inconclusive = fail\n")
    pytester.runpytest_subprocess("-k", "test_nothing").assert_outcomes(failed=1)


def test_where_tracing_is_impossible_it_is_skipped_with_the_reason(pytester, monkeypatch):
    monkeypatch.setenv("MMAPLOCK_BPFTRACE", "/nonexistent/bpftrace")
    pytester.makepyfile(BODY)
    done = pytester.runpytest_subprocess("-rs", "-k", "test_block or test_too_many")
    done.assert_outcomes(skipped=2)
    done.stdout.fnmatch_lines(["SKIPPED*cannot be traced: *apt-get install bpftrace*"])
