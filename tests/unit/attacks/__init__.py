"""Hostile profiles, templates and parameters, tried against the real command line."""
