"""What tracing costs, measured beside everything that a user could pick instead.

    contenders, scenarios ─▶ workshop (builds) ─▶ rounds (tracer, victim, quiet) ─▶ record ─▶
    figures, bars ─▶ table, plot ─▶ README

`checks` makes the peers prove our counts. Run by `tools/prices.py`; nothing else imports it.
"""
