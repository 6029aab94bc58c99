"""What makes mismatch harmless, and what it costs: every remedy on the same chips, at equal compute."""
