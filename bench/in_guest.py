"""Runs in an emulated kernel: hold-times and the kernel module over the same workload, as JSON."""

import json
import sys
from dataclasses import asdict

from bench import checks
from bench.tracer import Places

APART_NS = 50_000  # see checks.APART_NS; seen: 26 us where every instruction is emulated
PLACES: Places = {
    "victim": ("/job/victim",),
    "module": ("/job/module/peer.sh",),
    "python": (sys.executable,),
    "bpftrace:guest": ("bpftrace",),
}

if __name__ == "__main__":
    print(json.dumps(asdict(checks.check("module", PLACES, {}, "guest", APART_NS))))
