"""Boards as code, alerts with their tests and runbooks, and the configurations that they run with."""
