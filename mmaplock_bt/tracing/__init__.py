"""The window: bpftrace and the traced command are started, watched and ended."""
