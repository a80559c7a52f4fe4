"""Records to a result: rows, causes, blame, convoys, groups, advice."""
