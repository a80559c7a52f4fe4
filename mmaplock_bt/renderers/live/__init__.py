"""A window while it is open: as a line, as a screen."""
