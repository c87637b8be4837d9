"""The server, really listening."""
