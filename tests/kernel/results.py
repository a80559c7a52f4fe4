"""Saved results, as tests of the running kernel read them."""

from mmaplock_bt.result.loss import raced
from mmaplock_bt.result.model import Result
from mmaplock_bt.result.saved import from_json


class Raced(Exception):
    """bpftrace 0.23 lost a count, and said so: the Makefile has the test run again."""


def loaded(text: str | bytes) -> Result:
    """Returns a result. Raises Raced where a count in it cannot be exact."""
    result = from_json(text)
    if raced(result):
        raise Raced(result.messages)
    return result
