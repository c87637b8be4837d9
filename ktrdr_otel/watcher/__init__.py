"""The process beside an observed one: it sees what no thread in it can, and speaks for it when it cannot.

`process` and what it imports is the standard library alone: it runs in an isolated interpreter of 13 MiB.
"""
