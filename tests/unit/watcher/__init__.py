"""The watcher, piece by piece."""
