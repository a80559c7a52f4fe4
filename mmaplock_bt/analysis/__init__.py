"""Records to a result: rows, causes, blame, convoys, groups, findings."""
