"""What lines mean: bpftrace's JSON in every dialect, our records in it, the raw stream."""
