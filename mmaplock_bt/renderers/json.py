"""The result file as a format."""

from mmaplock_bt.errors import UsageError
from mmaplock_bt.judging.series import Series
from mmaplock_bt.result.saved import to_json


def render(series: Series) -> str:
    """Renders a run as a result file.

    Raises UsageError for several runs: each has a file of its own.
    """
    if len(series.runs) > 1:
        raise UsageError("a result file holds one run: each of several is in the runs' folder")
    return to_json(series.last)
