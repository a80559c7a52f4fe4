"""The engine over tracefs: it traces where there is no bpftrace, and prints what that would."""
