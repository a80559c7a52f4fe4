"""What is here: kernel, bpftrace, privileges and cgroups, looked at or tried."""
