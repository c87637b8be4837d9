"""Where and how a training runs."""
