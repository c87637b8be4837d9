"""Metrics as views of state: one table of instruments, made into numbers when somebody asks."""
