"""Many machines' results as one: which files, a table of their windows, hosts ranked."""
