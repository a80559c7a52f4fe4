"""Profile and machine to a bpftrace program."""
