"""Parts of the terminal report: how rows of each kind look."""
