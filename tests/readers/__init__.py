"""Exports read by the programs that they are for: make test-readers."""
