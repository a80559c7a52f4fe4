"""Runs command lines, each in a fork that is bounded and measured: `python worker.py`.

A line of JSON in, {"words", "folder", "environment"}; a line out, {"status", "cpu_s", "max_kib",
"out", "err"}. The program is imported once, so that an attack takes milliseconds.
"""

import json
import os
import resource
import sys
import tempfile
from contextlib import suppress

from mmaplock_bt import cli
from mmaplock_bt.commands import listing, profiles  # noqa: F401  (imported once)
from mmaplock_bt.script import jail

MEMORY_BYTES = 400 << 20  # of addresses: what is used is measured
CPU_S = 20
jail.CPU_S = 0.3


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(attacked(**json.loads(line))), flush=True)


def attacked(words, folder, environment):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            run(words, folder, environment, out, err)
        _, status, used = os.wait4(pid, 0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "cpu_s": used.ru_utime + used.ru_stime,
            "max_kib": used.ru_maxrss,
            "out": text(out),
            "err": text(err),
        }


def run(words, folder, environment, out, err):
    code = 99
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        os.chdir(folder)
        os.environ |= environment
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        with suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        code = cli.main(words)
    except SystemExit as ended:  # argparse's
        code = int(ended.code or 0)
    except BaseException as error:
        print("Traceback:", repr(error), file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def text(file):
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    main()
