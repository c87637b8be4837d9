"""Metrics, really scraped and pushed."""
