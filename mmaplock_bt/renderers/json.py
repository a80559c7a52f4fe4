"""The result file."""

from mmaplock_bt.result import Result, to_json


def render(result: Result) -> str:
    return to_json(result)
