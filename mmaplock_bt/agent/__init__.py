"""Tracing that stays on: one bpftrace, counters that only grow, told over HTTP."""
