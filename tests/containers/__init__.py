"""The image and the options that name containers, with real ones."""
