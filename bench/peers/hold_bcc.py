"""The hold figures of hold.bpf.c in BCC. hold_bcc.py -DOWNER=OFFSET -DTGID=OFFSET (offsets.c)

Runs with the system's Python, which has bcc; BCC_KERNEL_SOURCE names a kernel's headers. They need
not be the running kernel's: nothing here reads a structure by its declaration.
"""

import json
import os
import sys

from bcc import BPF

MODES = ("read", "write")
PROGRAM = """
struct span_key { u64 mm; u64 tid; };
struct owner { u32 pid; u32 mode; };
struct sums { u64 count; u64 sum; u64 max; };
struct bucket { u64 mode; u64 lower; };
BPF_HASH(holds, struct span_key, u64, 16384);
BPF_PERCPU_HASH(owners, struct owner, struct sums, 16384);
BPF_PERCPU_HASH(hold, struct bucket, u64, 16384);

static inline u64 lower_end(u64 ns)
{
    u64 rest = ns, shift = 0;
    if (rest >> 32) { rest >>= 32; shift += 32; }
    if (rest >> 16) { rest >>= 16; shift += 16; }
    if (rest >> 8) { rest >>= 8; shift += 8; }
    if (rest >> 4) { rest >>= 4; shift += 4; }
    if (rest >> 2) { rest >>= 2; shift += 2; }
    shift += rest >> 1;
    shift = shift > 3 ? shift - 3 : 0;
    return (ns >> shift) << shift;
}

static inline void ended(u64 mm, u64 write, u64 ns)
{
    struct bucket at = { .mode = write, .lower = lower_end(ns) };
    struct owner key = { .mode = write };
    struct sums zero = {}, *sums;
    u64 owner = 0;
    hold.increment(at);
    bpf_probe_read_kernel(&owner, sizeof owner, (void *)(mm + OWNER));
    bpf_probe_read_kernel(&key.pid, sizeof key.pid, (void *)(owner + TGID));
    sums = owners.lookup_or_try_init(&key, &zero);
    if (!sums)
        return;
    sums->count += 1;
    sums->sum += ns;
    if (ns > sums->max)
        sums->max = ns;
}

RAW_TRACEPOINT_PROBE(mmap_lock_acquire_returned)
{
    u64 now = bpf_ktime_get_ns(), id = bpf_get_current_pid_tgid();
    u64 write = ctx->args[1] & 1, began = now << 1 | write, *held = 0;
    struct span_key key = { .mm = ctx->args[0], .tid = (u32)id };
    if (!(ctx->args[2] & 1) || id >> 32 == OWN_PID)
        return 0;
    if (!write)
        held = holds.lookup(&key);
    if (held && *held & 1)  // a downgrade: the exclusive part ends here
        ended(key.mm, 1, now - (*held >> 1));
    holds.update(&key, &began);
    return 0;
}

RAW_TRACEPOINT_PROBE(mmap_lock_released)
{
    u64 now = bpf_ktime_get_ns(), write = ctx->args[1] & 1, began;
    struct span_key key = { .mm = ctx->args[0], .tid = (u32)bpf_get_current_pid_tgid() };
    u64 *held = holds.lookup(&key);
    if (!held || (*held & 1) != write)
        return 0;
    began = *held >> 1;
    holds.delete(&key);
    ended(key.mm, write, now - began);
    return 0;
}
"""


def tell(**found: object) -> None:
    print(json.dumps(found), flush=True)


def main(offsets: list[str]) -> None:
    program = BPF(text=PROGRAM, cflags=[*offsets, f"-DOWN_PID={os.getpid()}"])
    tell(ready=True)
    sys.stdin.read()
    for name in ("acquire_returned", "released"):
        program.detach_raw_tracepoint(f"mmap_lock_{name}".encode())
    for key, cpus in program["owners"].items():
        tell(output="owners", mode=MODES[key.mode], owner_pid=key.pid,
             count=sum(one.count for one in cpus), sum_ns=sum(one.sum for one in cpus),
             max_ns=max(one.max for one in cpus))  # fmt: skip
    for key, cpus in program["hold"].items():
        tell(output="hold", mode=MODES[key.mode], lower_ns=key.lower, count=sum(cpus))


if __name__ == "__main__":
    main(sys.argv[1:])
