"""The screen of `top`, by textual."""
