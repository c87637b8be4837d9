"""The store: one schema for SQLite and PostgreSQL."""
