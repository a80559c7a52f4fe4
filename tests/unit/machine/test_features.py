"""What bpftrace accepts is tried."""

import os
from pathlib import Path

from mmaplock_bt.machine import features


def test_a_bpftrace_that_cannot_trace_is_tried_again(fake):
    path = fake("exit 1")
    assert not any(features.outcomes(path)[name] for name in features.TRIALS)
    text = Path(path).read_text()
    stat = Path(path).stat()
    Path(path).write_text(text.replace("exit 1", "exit 0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert features.outcomes(path)["mm_owner"]
