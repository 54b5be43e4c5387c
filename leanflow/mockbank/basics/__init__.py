"""What all folders use, and what knows nothing of Lean or of banks: seeded dice, JSON, times, checks of values."""
