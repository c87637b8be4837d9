"""What a process does at this moment, in memory that its watcher reads: also while the interpreter's lock is held.

The observed thread writes the step that it begins and counts what it finishes; the reader of the inbox adds where the
whole is. Nothing here waits: it is a few stores into memory.
"""

import json
import mmap
import os
import struct
import threading
from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import Any, Final, NamedTuple

from ktrdr_otel import semconv

SIZE: Final = 64 * 1024
_WORDS: Final = struct.Struct("<14q")
_STARTED, _FINISHED, _TICKED, _ENDED_AT, _STEP_LENGTH, _PLACE_LENGTH, _ACTIVE, _THREAD = range(8)
_STOPPED, _STOPPED_BEFORE, _STOP_SEEN_AT = range(8, 11)
_STACKS_ASKED, _STACKS_TOLD, _STACKS_LENGTH = range(11, 14)
_STEP_AT, _PLACE_AT, _STACKS_AT = 128, 2048, 4096
_STEP_ROOM, _PLACE_ROOM, _STACKS_ROOM = _PLACE_AT - _STEP_AT, _STACKS_AT - _PLACE_AT, SIZE - _STACKS_AT
_DEPTHS: Final = (40, 20, 10, 5, 2, 1)  # frames per thread: as many as there is room for
_BETWEEN: Final = "\x1f"
_FIELDS = _TYPE, _STEP, _SYMBOL, _TIMEFRAME, _ITEM, _INDEX, _TOTAL, _HOLD = (
    semconv.PROGRESS_TYPE,
    semconv.STEP,
    semconv.SYMBOL_NAME,
    semconv.TIMEFRAME,
    semconv.ITEM_NAME,
    semconv.ITEM_INDEX,
    semconv.ITEM_TOTAL,
    semconv.HOLD_ALLOWANCE,
)


class Seen(NamedTuple):
    """The pulse at one moment."""

    moved: tuple[int, int, int]  # whatever changes here is progress: starts, ends, ticks
    step: dict[str, str] | None  # the attributes of the step that was begun last, while it is open
    place: Mapping[str, Any] | None  # what the reader of the inbox said last
    active: int  # operations that run
    thread: int  # `threading.get_ident` of who began the last step


class Pulse:
    """Some shared memory, held open by the process that writes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, SIZE)
        self._bytes = memoryview(self._memory)
        self._words = self._bytes[: _WORDS.size].cast("q")
        self._counting = threading.Lock()

    @classmethod
    def create(cls) -> "Pulse":
        """Memory that no path leads to, not inherited by children; what is never written takes none."""
        descriptor = os.memfd_create("ktrdr-otel", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, SIZE)
        return cls(descriptor)

    @property
    def path(self) -> str:
        """Where another process of the same user opens it while this one lives."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    def begin_step(self, attributes: Mapping[str, Any]) -> None:
        """A unit of work has begun; called by the observed thread."""
        get = attributes.get
        # One expression, in the order of `_FIELDS`: it runs in the observed thread at each step.
        text = (
            f"{get(_TYPE, '')}\x1f{get(_STEP, '')}\x1f{get(_SYMBOL, '')}\x1f{get(_TIMEFRAME, '')}\x1f"
            f"{get(_ITEM, '')}\x1f{get(_INDEX, '')}\x1f{get(_TOTAL, '')}\x1f{get(_HOLD, '')}"
        ).encode("utf-8", "replace")[:_STEP_ROOM]
        words = self._words
        self._bytes[_STEP_AT : _STEP_AT + len(text)] = text
        words[_STEP_LENGTH] = len(text)
        words[_THREAD] = get_ident()
        words[_STARTED] += 1

    def end_step(self) -> None:
        """A unit of work has ended; called by the observed thread."""
        words = self._words
        words[_FINISHED] += 1
        words[_ENDED_AT] = words[_STARTED]

    def tick(self) -> None:
        """A tracked loop has moved."""
        self._words[_TICKED] += 1

    def place(self, place: Mapping[str, Any]) -> None:
        """Where the operation is, for when no step is open."""
        text = json.dumps(place).encode()
        if len(text) <= _PLACE_ROOM:
            self._words[_PLACE_LENGTH] = 0
            self._bytes[_PLACE_AT : _PLACE_AT + len(text)] = text
            self._words[_PLACE_LENGTH] = len(text)

    def count(self, change: int) -> None:
        """So many operations more, or less, run in the process, whatever their stores."""
        with self._counting:
            self._words[_ACTIVE] += change

    def add_stopped(self, nanoseconds: int, *, seen_first_at_ns: int | None) -> None:
        """The watcher has seen it stopped by a signal for so much longer; with a moment: for the first time."""
        words = self._words
        if seen_first_at_ns is not None:
            words[_STOPPED_BEFORE], words[_STOP_SEEN_AT] = words[_STOPPED], seen_first_at_ns
        words[_STOPPED] += nanoseconds

    @property
    def stopped_ns(self) -> int:
        """How long the process has been stopped by signals since it has been watched."""
        return int(self._words[_STOPPED])

    def last_stop_ns(self, since_ns: int) -> int:
        """How long the last stop was, if it was seen after that moment; 0 if not."""
        words = self._words
        return int(words[_STOPPED] - words[_STOPPED_BEFORE]) if words[_STOP_SEEN_AT] > since_ns else 0

    def ask_for_stacks(self) -> int:
        """The watcher wants the stacks of all threads, taken by one of them; the number of the question."""
        self._words[_STACKS_ASKED] += 1
        return int(self._words[_STACKS_ASKED])

    def wants_stacks(self) -> bool:
        """Whether the watcher has asked for stacks that nobody has told yet."""
        return bool(self._words[_STACKS_TOLD] < self._words[_STACKS_ASKED])

    def tell_stacks(self, threads: Sequence[Mapping[str, Any]]) -> None:
        """The question is answered, with as much of them as there is room for."""
        words = self._words
        asked = words[_STACKS_ASKED]
        for depth in _DEPTHS:
            cut = [{**thread, "frames": thread["frames"][:depth]} for thread in threads]
            text = json.dumps(cut).encode()
            if len(text) <= _STACKS_ROOM:
                self._bytes[_STACKS_AT : _STACKS_AT + len(text)] = text
                words[_STACKS_LENGTH] = len(text)
                break
        else:
            words[_STACKS_LENGTH] = 0
        words[_STACKS_TOLD] = asked

    def stacks_told(self, question: int) -> list[dict[str, Any]] | None:
        """The answer; None while there is none."""
        words = self._words
        if words[_STACKS_TOLD] < question:
            return None
        try:
            told = json.loads(bytes(self._bytes[_STACKS_AT : _STACKS_AT + words[_STACKS_LENGTH]]))
        except ValueError:  # too much for the room
            return None
        return list(told)

    def look(self) -> Seen:
        """The pulse now; a text that is being written at this moment is left out."""
        words = self._words
        started, finished, ticked = words[_STARTED], words[_FINISHED], words[_TICKED]
        step = None
        if started and words[_ENDED_AT] != started:
            raw = bytes(self._bytes[_STEP_AT : _STEP_AT + words[_STEP_LENGTH]]).decode("utf-8", "replace")
            told = raw.split(_BETWEEN)
            if len(told) == len(_FIELDS):
                step = {field: value for field, value in zip(_FIELDS, told, strict=True) if value}
        place = None
        if length := words[_PLACE_LENGTH]:
            try:
                place = json.loads(bytes(self._bytes[_PLACE_AT : _PLACE_AT + length]))
            except ValueError:
                place = None
        return Seen((started, finished, ticked), step, place, words[_ACTIVE], words[_THREAD])

    def close(self) -> None:
        """The memory is given back; whoever else has it open keeps it."""
        self._words.release()
        self._bytes.release()
        self._memory.close()
        os.close(self._descriptor)
