"""How long was worked and waited for a CPU: on a slow machine it tells who works from who hangs."""


def busy_s(pid: int) -> float:
    """Returns for how long its first thread has run or waited for a CPU, in s; 0: not told.

    By /proc/PID/schedstat (CONFIG_SCHED_INFO); a bpftrace compiles in its first thread.
    """
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:  # noqa: PTH123
            ran_ns, waited_ns, _ = file.read().split()
    except (OSError, ValueError):
        return 0.0
    return (int(ran_ns) + int(waited_ns)) / 1e9


def waited_s(thread: int | None = None) -> float:
    """Returns for how long a thread of this process has waited for a CPU, in s; 0: not told.

    None is the one that asks.
    """
    place = "thread-self" if thread is None else f"self/task/{thread}"
    try:
        with open(f"/proc/{place}/schedstat", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
