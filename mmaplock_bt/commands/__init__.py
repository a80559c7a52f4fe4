"""One module per sub-command; each has `main(arguments) -> exit code`."""
