"""Whose frame a sentence names, of all threads that py-spy has seen."""

from typing import Any

from ktrdr_otel.operations.stack import Stacks


def thread(
    name: str, ident: int, function: str, *, active: bool = False, gil: bool = False
) -> dict[str, Any]:
    """A thread as `py-spy dump --json` tells it."""
    frame = {"name": function, "filename": "/x/job.py", "short_filename": "x/job.py", "line": 7}
    return {
        "thread_id": ident,
        "thread_name": name,
        "os_thread_id": ident + 1000,
        "active": active,
        "owns_gil": gil,
        "frames": [frame],
    }


def where(*threads: dict[str, Any], step_thread: int = 1) -> str | None:
    """The words for the thread that works."""
    worker = Stacks(list(threads)).worker(step_thread)
    return None if worker is None else worker.where


def test_the_thread_that_works_is_named() -> None:
    """Busy before waiting; of those that wait the one that began the step; never one of ours."""
    main, pool = thread("MainThread", 1, "join"), thread("pool-1", 2, "compute")
    busy = thread("pool-1", 2, "compute", active=True)
    ours = thread("ktrdr-otel store", 3, "flush", active=True, gil=True)
    assert where(ours, main, busy) == "in compute, x/job.py:7"
    assert where(ours, pool, main) == "in join, x/job.py:7"
    assert where(ours, main, pool, step_thread=2) == "in compute, x/job.py:7"
    assert where(ours, main, thread("pool-1", 2, "native", gil=True)) == "in native, x/job.py:7"
    assert where(ours) is None
    assert where({**main, "frames": []}) is None


def test_the_main_thread_comes_first_and_ours_last() -> None:
    """So that the stack is read from where people look first."""
    told = Stacks(
        [
            thread("ktrdr-otel store", 3, "flush"),
            thread("pool-1", 2, "compute"),
            thread("MainThread", 1, "join"),
        ]
    ).text()
    assert told.index("MainThread") < told.index("pool-1") < told.index("ktrdr-otel store")
