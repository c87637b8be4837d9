"""Spans on their way out: providers and the one exporter thread."""
