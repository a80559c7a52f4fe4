"""The HTML page, opened in a real browser: make test-browser."""
