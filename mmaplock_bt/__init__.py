"""Who held mmap_lock, for how long, with which stack, whose address space, and who waited."""

__version__ = "0.1.0"
NAME = "mmaplock-bt"
BPFTRACE = "MMAPLOCK_BPFTRACE"  # of the environment: which bpftrace is run
