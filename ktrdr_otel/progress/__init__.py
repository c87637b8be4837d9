"""Where an operation is: plan, live state, remaining time, and the words for it."""
