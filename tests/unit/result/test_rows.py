"""The rows' types say the same as the table of columns."""

from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest

from mmaplock_bt.result.rows import Behind, Bucket, Queued, Row, Stack, TableRow
from mmaplock_bt.spec.columns import STANDARD
from mmaplock_bt.spec.outputs import STANDARD as IN_OUTPUTS
from tests.builders import FULL, one_output

HINTS = get_type_hints(Row)
# What a column of each type holds in a row.
HELD: dict[str, Any] = {"int": int, "text": str, "enum": str, "hex": str, "cgroup": str,
                        "stack": Stack, "kernel_stack": Stack, "user_stack": Stack}  # fmt: skip
LISTS = {"behind": list[Behind], "queued": list[Queued]}


def bare(hint: Any) -> Any:
    """Without None, which every column may be."""
    found = [one for one in get_args(hint) if one is not NoneType]
    assert NoneType in get_args(hint) and len(found) == 1
    return found[0]


def test_a_row_has_the_standard_columns_and_no_other():
    assert list(HINTS) == list(STANDARD)
    assert IN_OUTPUTS is STANDARD


@pytest.mark.parametrize("name", STANDARD)
def test_a_columns_type_is_its_annotations(name):
    column = STANDARD[name]
    wanted = LISTS[name] if column.type == "list" else HELD[column.type]
    assert bare(HINTS[name]) == wanted


@pytest.mark.parametrize("rows", [Behind, Queued])
def test_what_stands_in_lists_is_of_the_same_types(rows):
    """`overlap_ns` is theirs alone."""
    hints = get_type_hints(rows)
    assert hints.pop("overlap_ns", int) is int
    for name, hint in hints.items():
        assert bare(HINTS[name]) in (hint, *get_args(hint)), name


def test_a_table_row_has_every_figure_that_an_output_may_ask_for():
    hints = get_type_hints(TableRow)
    group, share = FULL["b"][0], FULL["p"][0]
    for plain in (group, share):
        figures = {one.name for one in one_output(title="X", **plain).figures}
        own = set(plain.get("distinct", ()))
        assert figures - own <= set(hints)
    assert set(HINTS) < set(hints)


def test_every_label_is_text_and_once():
    for column in STANDARD.values():
        assert len(set(column.labels)) == len(column.labels)
        assert bool(column.labels) == (column.type == "enum")


def test_a_bucket_is_three_numbers():
    low, high, n = Bucket(1, None, 3)
    assert (low, high, n) == (1, None, 3)
