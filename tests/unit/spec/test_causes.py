"""causes.yaml: every cause has words, every remedy a source, and no two mean the same."""

import re

import pytest
from pydantic import ValidationError

from mmaplock_bt.spec import causes
from mmaplock_bt.spec.causes import Cause, Change, Remedy
from mmaplock_bt.stream import lock_frames


def test_every_cause_can_be_told_and_is_explained():
    for name, about in causes.causes().items():
        assert about.frames or about.callers or name in lock_frames.REASONS, name
        assert about.means.endswith("."), name
        # It completes "while it was ...".
        assert re.match(r"[a-z]+ing\b", about.plain), name
        assert not about.plain.endswith("."), name
        for remedy in about.remedies:
            assert remedy.do.endswith("."), name


def test_what_a_holder_is_kept_by_is_explained():
    assert set(lock_frames.REASONS) <= set(causes.causes())


def test_no_two_causes_have_the_same_words():
    told = [about.plain for about in causes.causes().values()]
    assert sorted(told) == sorted(set(told))


def test_a_cause_told_more_closely_than_it_is_described():
    assert causes.cause("madvise(MADV_DODUMP)") == causes.cause("madvise")
    assert causes.cause("madvise(MADV_FREE)").plain == "giving pages back (MADV_FREE)"
    assert causes.cause("fork").remedies[0].source.startswith("https://")


@pytest.mark.parametrize("name", ["other(foo < bar)", "unknown (no stack)", ""])
def test_a_stack_that_nothing_is_known_of_has_no_words(name):
    assert causes.cause(name) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Remedy(do="Unmap in pieces.", source="somebody said so"),
        lambda: Remedy(do="Unmap in pieces."),
        lambda: Remedy(do="Unmap in pieces.", since="6", source="https://docs.kernel.org/"),
        lambda: Change(kernel="6.4", what="", source="https://docs.kernel.org/"),
        lambda: Cause(name="x", plain="x-ing", means="X.", remedy=[]),
    ],
)
def test_what_has_no_source_or_no_meaning_is_refused(make):
    with pytest.raises(ValidationError):
        make()


def test_terms_explain_the_words_of_reports():
    known = causes.terms()
    assert {"mmap_lock", "owner", "actor", "downgrade", "books", "loss", "convoy"} <= set(known)
    names = [name for name, about in known.items() for name in (name, *about.also)]
    assert sorted(names) == sorted(set(names))
