"""What all streams read from: the latest state of what runs, and the newest steps.

Everything here runs in the event loop, but for `stored` and `progressed`, which other threads call.
"""

import asyncio
import dataclasses
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from anyio import to_thread

from ktrdr_otel.display.strict_json import strict_json
from ktrdr_otel.operations.json_form import checkpoint_json
from ktrdr_otel.operations.models import Checkpoint, Operation, Progress
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.server.messages import BYE, END, STATE, STEP, Chunk, Message

COALESCE_SECONDS: Final = 0.1  # between two states told
KEEP_ALIVE_SECONDS: Final = 10.0  # after so long a silence the state is told again
_KEPT_STEPS: Final = 4_000  # whoever is further behind reads them from the store
_KEPT_ENDED: Final = 200  # operations that have ended, for readers who have not heard of it
_PAGE: Final = 500  # steps sent at once

Form = Callable[[Operation], dict[str, object]]


class _Shown:
    """An operation as streams tell it."""

    __slots__ = ("data", "operation", "sequence", "version")

    def __init__(self, operation: Operation, version: int, sequence: int) -> None:
        self.operation = operation
        self.version = version
        self.sequence = sequence  # up to which steps were known when it was so
        self.data: str | None = None


class Hub:
    """Many readers, each at its own pace: a slow one holds nothing, it reads what it missed from the store."""

    def __init__(self, service: OperationsService, form: Form) -> None:
        self._service = service
        self._form = form
        self._loop = asyncio.get_running_loop()
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._progress: dict[str, Progress] = {}  # of operations of this process: newer than the store's
        self._waiting: dict[str, Progress] = {}  # told by other threads, not yet taken over
        self._version = 0
        self._sequence = 0
        self._steps: list[tuple[int, str, str]] = []  # sequence, operation, JSON
        self._steps_from = 0  # the sequence after which `_steps` are all
        self._began = asyncio.Event()
        self._changed = asyncio.Event()
        self._tick = asyncio.Event()
        self._chunks: dict[tuple[object, ...], Chunk] = {}
        self._closing: str | None = None
        self.subscribers = 0

    def stored(self, operations: Sequence[Operation], steps: Sequence[Checkpoint], sequence: int) -> None:
        """The store has these operations, and these steps up to that sequence; called in the follower's thread."""
        forms = [
            (
                step.sequence,
                step.operation_id,
                strict_json({"operation_id": step.operation_id, **checkpoint_json(step)}),
            )
            for step in steps
        ]
        self._loop.call_soon_threadsafe(self._take_stored, operations, forms, sequence)

    def progressed(self, operation_id: str, progress: Progress) -> None:
        """The operation, of this process, is there now; called in any thread, often."""
        is_first = not self._waiting
        self._waiting[operation_id] = progress
        if is_first:
            self._loop.call_soon_threadsafe(self._take_progress)

    async def run(self) -> None:
        """Readers are woken, at most ten times a second, until it is cancelled."""
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            self._wake()
            await asyncio.sleep(COALESCE_SECONDS)

    def close(self, reason: str) -> None:
        """Every stream ends, and says why."""
        self._closing = reason
        self._began.set()
        self._wake()

    async def follow(
        self, operation_id: str | None, after: int | None, *, steps: bool = True
    ) -> AsyncGenerator[Chunk, None]:
        """What happens in that operation, or in all, to its end: first the steps after `after`, then the state.

        Without `after` steps are told from now on. Raises `UnknownOperationError` at the first turn.
        """
        await self._began.wait()
        if operation_id is not None and operation_id not in self._shown:
            await self._load(operation_id)
        if after is not None and after > self._sequence:
            # Whoever was far behind has read on from the store, and may know more than has come here.
            last = await to_thread.run_sync(self._service.last_sequence)
            after = after if after <= last else None
        self.subscribers += 1
        try:
            async for chunk in self._tell(operation_id, after, steps=steps):
                yield chunk
        finally:
            self.subscribers -= 1

    async def _load(self, operation_id: str) -> None:
        """The operation, which has ended or just begun, is shown: never before the steps that led there."""
        operation, sequence = await to_thread.run_sync(
            lambda: (self._service.get(operation_id), self._service.last_sequence())
        )
        while self._sequence < sequence and self._closing is None:
            await self._tick.wait()
        self._shown.setdefault(operation_id, self._show(operation))

    async def _tell(
        self, operation_id: str | None, after: int | None, *, steps: bool
    ) -> AsyncGenerator[Chunk, None]:
        cursor = self._sequence if after is None else after
        told: dict[str, int] = self._ended_before(cursor) if operation_id is None else {}
        spoke_at = self._loop.time()
        while True:
            if not steps:
                cursor = self._sequence
            while cursor < self._sequence:
                chunk, cursor = await self._steps_after(cursor, operation_id)
                if chunk is not None:
                    yield chunk
                    spoke_at = self._loop.time()
            # No other turn of the loop lies between the last step and the state: the state says nothing
            # that the steps have not.
            if self._loop.time() - spoke_at >= KEEP_ALIVE_SECONDS:
                told = {each: version for each, version in told.items() if self._has_ended(each)}
            chunk = self._states(operation_id, told, cursor)
            if chunk is not None:
                yield chunk
                spoke_at = self._loop.time()
            if cursor < self._sequence:
                continue
            if operation_id is not None and self._has_ended(operation_id):
                return
            if self._closing is not None:
                yield Chunk([Message(BYE, cursor, strict_json({"reason": self._closing}))])
                return
            await self._tick.wait()

    async def _steps_after(self, cursor: int, operation_id: str | None) -> tuple[Chunk | None, int]:
        known = self._sequence
        if cursor < self._steps_from:
            steps = await to_thread.run_sync(
                lambda: self._service.steps(after=cursor, limit=_PAGE, operation_id=operation_id)
            )
            messages = [
                Message(
                    STEP,
                    step.sequence,
                    strict_json({"operation_id": step.operation_id, **checkpoint_json(step)}),
                )
                for step in steps
            ]
            reached = (
                messages[-1].id if len(messages) == _PAGE else max([known, *(each.id for each in messages)])
            )
            return (Chunk(messages) if messages else None), reached
        key = (STEP, operation_id, cursor, known)
        chunk = self._chunks.get(key)
        first = bisect_right(self._steps, (cursor, "\U0010ffff", ""))
        page = self._steps[first : first + _PAGE]
        reached = page[-1][0] if len(page) == _PAGE else known
        if chunk is None:
            chunk = self._chunks[key] = Chunk(
                [
                    Message(STEP, sequence, data)
                    for sequence, owner, data in page
                    if operation_id is None or owner == operation_id
                ]
            )
        return (chunk if chunk.messages else None), reached

    def _states(self, operation_id: str | None, told: dict[str, int], cursor: int) -> Chunk | None:
        """The states that this reader has not been told, which from now on it has."""
        wanted = self._shown if operation_id is None else (operation_id,)
        fresh = [
            (each, shown)
            for each in wanted
            if (shown := self._shown.get(each)) is not None and told.get(each) != shown.version
        ]
        if not fresh:
            return None
        for each, shown in fresh:
            told[each] = shown.version
        key = (STATE, cursor, tuple(shown.version for _, shown in fresh))
        chunk = self._chunks.get(key)
        if chunk is None:
            chunk = self._chunks[key] = Chunk(
                [
                    Message(END if shown.operation.status.is_terminal else STATE, cursor, self._data(shown))
                    for _, shown in fresh
                ]
            )
        return chunk

    def _data(self, shown: _Shown) -> str:
        if shown.data is None:
            shown.data = strict_json(self._form(shown.operation))
        return shown.data

    def _ended_before(self, cursor: int) -> dict[str, int]:
        """A reader of all operations need not hear of those that had ended where it goes on."""
        return {
            each: shown.version
            for each, shown in self._shown.items()
            if shown.operation.status.is_terminal and shown.sequence < cursor
        }

    def _has_ended(self, operation_id: str) -> bool:
        shown = self._shown.get(operation_id)
        return shown is not None and shown.operation.status.is_terminal

    def _show(self, operation: Operation) -> _Shown:
        self._version += 1
        return _Shown(operation, self._version, self._sequence)

    def _take_stored(
        self, operations: Sequence[Operation], steps: Sequence[tuple[int, str, str]], sequence: int
    ) -> None:
        if not self._began.is_set():
            self._steps_from = sequence
            self._began.set()
        self._steps.extend(steps)
        if len(self._steps) > _KEPT_STEPS:
            dropped = len(self._steps) - _KEPT_STEPS // 2
            self._steps_from = self._steps[dropped - 1][0]
            del self._steps[:dropped]
        if operations or sequence > self._sequence:
            self._changed.set()
        self._sequence = max(self._sequence, sequence)
        for operation in operations:
            self._take(operation)

    def _take(self, operation: Operation) -> None:
        operation_id = operation.operation_id
        if operation.status.is_terminal:
            self._progress.pop(operation_id, None)
        elif (newer := self._progress.get(operation_id)) is not None:
            operation = _at(operation, newer)
        shown = self._shown.get(operation_id)
        if shown is not None and shown.operation == operation:
            return
        self._shown[operation_id] = self._show(operation)
        self._shown.move_to_end(operation_id)
        self._forget_ended()

    def _take_progress(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for operation_id, progress in waiting.items():
            shown = self._shown.get(operation_id)
            if shown is None or shown.operation.status.is_terminal:
                continue  # the follower brings its beginning within a second
            self._progress[operation_id] = progress
            self._shown[operation_id] = self._show(_at(shown.operation, progress))
            self._changed.set()

    def _forget_ended(self) -> None:
        if len(self._shown) <= _KEPT_ENDED:
            return
        ended = [each for each, shown in self._shown.items() if shown.operation.status.is_terminal]
        for operation_id in ended[: len(self._shown) - _KEPT_ENDED]:
            del self._shown[operation_id]

    def _wake(self) -> None:
        self._chunks.clear()
        self._tick.set()
        self._tick.clear()


def _at(operation: Operation, progress: Progress) -> Operation:
    return dataclasses.replace(
        operation,
        phase=progress.phase,
        percentage=progress.percentage,
        message=progress.message,
        context=progress.context,
        last_progress_at=progress.last_progress_at,
        items_completed=progress.items_completed,
        items_planned=progress.items_planned,
        estimated_remaining_seconds=progress.estimated_remaining_seconds,
        phases=progress.phases,
    )
