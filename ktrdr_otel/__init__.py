"""See where a long job is, whether it moves, and what it is stuck on: spans as live progress."""
