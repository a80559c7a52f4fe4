"""What is asked: profiles, templates' declarations, outputs, gates, budgets, tolerances."""
