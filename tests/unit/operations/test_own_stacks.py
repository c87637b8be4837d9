"""The stacks of this very process, and their way through the pulse to whoever watches it."""

import json
import threading

from ktrdr_otel.operations.own_stacks import own_threads
from ktrdr_otel.operations.stack import Stacks
from ktrdr_otel.pulse import Pulse


def test_all_threads_are_told_as_py_spy_tells_them() -> None:
    """With qualified names, the innermost frame first; who works is the thread that the kernel has seen run."""
    go_on, is_there = threading.Event(), threading.Event()

    class Job:
        def waits(self) -> None:
            is_there.set()
            go_on.wait()

    thread = threading.Thread(target=Job().waits, name="pool-1")
    thread.start()
    is_there.wait()
    told = json.loads(json.dumps(own_threads()))
    go_on.set()
    thread.join()
    assert thread.native_id is not None

    mine = threading.get_ident()
    idle, busy = Stacks.from_inside(told, ()), Stacks.from_inside(told, {thread.native_id})
    here = idle.worker(mine)
    assert here is not None
    assert here.where.startswith("in own_threads, ktrdr_otel/operations/own_stacks.py:")
    other = busy.worker(mine)
    assert other is not None
    assert other.os_thread_id == thread.native_id
    assert "Job.waits (" in busy.text()
    assert f'Thread "{threading.current_thread().name}" (idle)' in busy.text()
    assert 'Thread "pool-1" (active)' in busy.text()


def test_a_question_is_answered_once() -> None:
    """Nobody wants stacks before it is asked, or after it is told; an older answer is none."""
    pulse = Pulse.create()
    assert not pulse.wants_stacks()
    question = pulse.ask_for_stacks()
    assert pulse.wants_stacks()
    assert pulse.stacks_told(question) is None
    pulse.tell_stacks([{"thread_name": "one", "frames": []}])
    assert not pulse.wants_stacks()
    assert pulse.stacks_told(question) == [{"thread_name": "one", "frames": []}]
    assert pulse.stacks_told(pulse.ask_for_stacks()) is None
    pulse.close()


def test_stacks_without_end_are_cut_to_the_room_that_there_is() -> None:
    """The innermost frames are kept; with too many threads there are none."""
    pulse = Pulse.create()
    frames = [{"name": f"f{number}", "filename": "x" * 90, "line": 1} for number in range(40)]
    question = pulse.ask_for_stacks()
    pulse.tell_stacks([{"thread_name": "one", "frames": frames}] * 30)
    told = pulse.stacks_told(question)
    assert told is not None
    assert len(told) == 30
    assert told[0]["frames"] == frames[:10]
    question = pulse.ask_for_stacks()
    pulse.tell_stacks([{"thread_name": "one", "frames": frames}] * 3000)
    assert pulse.stacks_told(question) is None
    assert not pulse.wants_stacks()
    pulse.close()
