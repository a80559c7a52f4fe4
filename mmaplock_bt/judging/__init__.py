"""Results to verdicts: gates, repeated runs, comparisons."""
