"""What the observed program logs is kept, bounded, and its own logging is what it was."""

import gc
import logging
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ktrdr_otel import checkpoint, observe, semconv
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings

program_log = logging.getLogger("bars.load")


def test_who_wants_no_records_kept_has_none(
    database: str, service: OperationsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the store nor on a span."""
    monkeypatch.setenv("KTRDR_OTEL_LOGS", "off")
    exporter = InMemorySpanExporter()
    with (
        observe("load", operation_id="one", display="off", database=database, exporters=[exporter]),
        checkpoint("load", item="MSFT", index=1, total=1),
    ):
        program_log.warning("password=hunter2")
    assert service.logs("one") == []
    assert not [event for span in exporter.get_finished_spans() for event in span.events]


def test_what_is_logged_is_kept_with_its_step(database: str, service: OperationsService) -> None:
    """Level, logger, message, span and the words for the step; what the logger does not let through is not."""
    exporter = InMemorySpanExporter()
    with observe("load", operation_id="one", display="off", database=database, exporters=[exporter]):
        program_log.warning("no bars for %s", "2001-09-11")
        with checkpoint("load", item="MSFT", index=1, total=2):
            program_log.error("gap of %d days", 5)
            program_log.debug("not let through")
        with checkpoint("load", item="AAPL", index=2, total=2):
            pass
    program_log.warning("after the end")
    first, second = service.logs("one")
    spans = {each.name: each for each in exporter.get_finished_spans() if each.events}
    assert (first.level, first.logger, first.message, first.step) == (
        "WARNING",
        "bars.load",
        "no bars for 2001-09-11",
        None,
    )
    assert (second.message, second.step) == ("gap of 5 days", "Load MSFT (1/2)")
    assert spans["load"].context is not None
    assert second.span_id == f"{spans['load'].context.span_id:016x}"


def test_a_warning_is_an_event_of_the_span_of_its_step(database: str) -> None:
    """With level, logger, message and the place in the code; what is below a warning is none."""
    exporter = InMemorySpanExporter()
    program_log.setLevel(logging.INFO)
    with (
        observe("load", display="off", database=database, exporters=[exporter]),
        checkpoint("load", item="MSFT", index=1, total=1),
    ):
        program_log.info("as usual")
        program_log.warning("gap")
    program_log.setLevel(logging.NOTSET)
    [span] = [each for each in exporter.get_finished_spans() if each.name == "load"]
    [event] = span.events
    attributes = dict(event.attributes or {})
    assert event.name == semconv.LOGGED_EVENT
    assert attributes.pop(semconv.CODE_LINE_NUMBER) > 0  # type: ignore[operator] # a number
    assert attributes == {
        semconv.LOG_LEVEL: "WARNING",
        semconv.LOG_LOGGER: "bars.load",
        semconv.LOG_MESSAGE: "gap",
        semconv.CODE_FILE_PATH: __file__,
        semconv.CODE_FUNCTION_NAME: "test_a_warning_is_an_event_of_the_span_of_its_step",
    }
    assert span.start_time <= event.timestamp <= span.end_time  # type: ignore[operator] # both are set


def test_a_flood_is_bounded(database: str, service: OperationsService) -> None:
    """The last two hundred records, cut in length, and twenty events per span."""
    exporter = InMemorySpanExporter()
    with (
        observe("load", operation_id="one", display="off", database=database, exporters=[exporter]),
        checkpoint("load", item="x"),
    ):
        for number in range(5000):
            program_log.warning("%d %s", number, "x" * 5000)
    kept = service.logs("one")
    assert [line.message.split()[0] for line in kept] == [str(number) for number in range(4800, 5000)]
    assert {len(line.message) for line in kept} == {2000}
    [span] = [each for each in exporter.get_finished_spans() if each.name == "load"]
    assert len(span.events) == 20


class Hostile:
    """An argument that logs, or breaks, when it is formatted."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.breaks = breaks

    def __str__(self) -> str:
        if self.breaks:
            raise ValueError("no text")
        program_log.warning("inside")
        return "outside"


def test_no_record_reaches_the_program_as_an_exception(database: str, service: OperationsService) -> None:
    """Arguments that do not fit, break or log themselves; a message that is no text."""
    with observe("load", operation_id="one", display="off", database=database):
        logging.raiseExceptions = False
        try:
            program_log.warning("%s and %s", "one")
            program_log.warning("%s", Hostile(breaks=True))
            program_log.warning(Hostile(breaks=True))
            program_log.warning("%s", Hostile())
            try:
                raise KeyError("why")
            except KeyError:
                program_log.exception("broke")
        finally:
            logging.raiseExceptions = True
        logging.getLogger().handle(
            logging.makeLogRecord({"msg": "received", "levelno": 30, "levelname": "W"})
        )
    messages = [line.message for line in service.logs("one")]
    assert messages[:2] == ["%s and %s", "%s"]
    assert "outside" in messages
    assert messages[-1] == "broke\nKeyError: 'why'"


def test_our_own_chatter_is_not_kept(database: str, service: OperationsService) -> None:
    """Storing it would log again, and so on; neither by logger nor from a thread of ours."""
    with observe("load", operation_id="one", display="off", database=database):
        logging.getLogger("ktrdr_otel.operations.writer").warning("stored")
        thread = threading.Thread(target=program_log.warning, args=("from within",), name="ktrdr-otel store")
        thread.start()
        thread.join()
        logging.getLogger("ktrdr_otel_user").warning("kept")
    assert [line.message for line in service.logs("one")] == ["kept"]


def test_operations_at_once_keep_their_own(database: str, service: OperationsService) -> None:
    """A record belongs to the operation of its checkpoint; without one, while several run, to none."""
    with (
        observe("one", operation_id="one", display="off", database=database),
        observe("two", operation_id="two", display="off", database=database),
    ):
        program_log.warning("of the inner")
        thread = threading.Thread(target=program_log.warning, args=("of nobody",))
        thread.start()
        thread.join()
    assert [line.message for line in service.logs("one")] == []
    assert [line.message for line in service.logs("two")] == ["of the inner"]


def test_the_factory_is_the_programs_again_after_the_last_operation(database: str) -> None:
    """Also where the program has put one around ours meanwhile, which then goes on being called once per record."""
    before = logging.getLogRecordFactory()
    with observe("one", display="off", database=database):
        assert logging.getLogRecordFactory() is not before
        with observe("two", display="off", database=database):
            pass
        assert logging.getLogRecordFactory() is not before
    assert logging.getLogRecordFactory() is before
    made = []
    with observe("three", display="off", database=database):
        ours = logging.getLogRecordFactory()

        def around(*args: object, **keywords: object) -> logging.LogRecord:
            made.append(args)
            return ours(*args, **keywords)

        logging.setLogRecordFactory(around)
    try:
        assert logging.getLogRecordFactory() is around
        with observe("four", display="off", database=database):
            program_log.warning("once")
        assert len(made) == 1
    finally:
        logging.setLogRecordFactory(before)


def test_a_generator_that_logs_when_it_is_collected_blocks_nobody(
    database: str, service: OperationsService
) -> None:
    """Inside whatever critical section it happens: nothing that is waited for is held."""

    def loop() -> Iterator[int]:
        with checkpoint("load", item="x"):
            try:
                yield 1
            finally:
                program_log.warning("collected")

    with observe("load", operation_id="one", display="off", database=database) as operation:
        for _ in range(50):
            cycle: list[object] = [loop()]
            next(cycle[0])  # type: ignore[call-overload] # a generator
            cycle.append(cycle)
            del cycle
            operation.flush()
        gc.collect()
    assert len(service.logs("one")) == 50


OWN_LOGGING = """
import logging, os, sys
from contextlib import nullcontext
from ktrdr_otel import observe
import ktrdr_otel.wiring

def main():
    log = logging.getLogger("mine")
    log.warning("before any handler, to the last resort")
    print(logging.getLogger().hasHandlers(), log.getEffectiveLevel(), file=sys.stderr)
    if sys.argv[2] == "module":
        logging.warning("by the module's own function")
    else:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    log.info("configured")
    log.error("bad %s", "thing")
    print([type(each).__name__ for each in logging.getLogger().handlers], file=sys.stderr)
    pid = os.fork()
    if pid == 0:
        log.warning("from a child, by %s", type(logging.getLogRecordFactory()).__name__)
        os._exit(0)
    os.waitpid(pid, 0)

with observe("own", database=sys.argv[1], display="off") if sys.argv[3] == "observed" else nullcontext():
    main()
"""


@pytest.mark.parametrize("how", ["module", "configured"])
def test_the_programs_own_logging_is_what_it_was(tmp_path: Path, how: str) -> None:
    """Handlers, levels and every line, also before it has set up any; a forked child is not captured from."""

    def said(whether: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", OWN_LOGGING, str(tmp_path / "o.db"), how, whether],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stderr

    alone = said("alone")
    assert said("observed") == alone
    assert "last resort" in alone


def test_a_killed_run_leaves_its_last_records(tmp_path: Path) -> None:
    """Those of the last flush: what was logged a moment before is gone with the process."""
    program = (
        "import logging, sys, time\n"
        "from ktrdr_otel import checkpoint, observe\n"
        "with observe('killed', operation_id='killed', database=sys.argv[1], display='off') as operation:\n"
        "    with checkpoint('load', item='MSFT'):\n"
        "        logging.getLogger('bars').warning('disk is nearly full')\n"
        "        operation.flush()\n"
        "        print('there', flush=True)\n"
        "        time.sleep(60)\n"
    )
    database = tmp_path / "o.db"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(database)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        process.send_signal(signal.SIGKILL)
    service = open_service(load_settings(database=str(database)))
    [line] = service.logs("killed")
    service.close()
    assert (line.message, line.step) == ("disk is nearly full", "Load MSFT")


def test_a_store_that_was_away_gets_the_newest_records(tmp_path: Path) -> None:
    """As many as are kept, in order, when it is back."""
    database = tmp_path / "o.db"
    with observe("away", operation_id="away", display="off", database=str(database)) as operation:
        with sqlite3.connect(database, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            for number in range(300):
                program_log.warning("%d", number)
            assert not operation.flush()
            other.execute("ROLLBACK")
        other.close()
    service = open_service(load_settings(database=str(database)))
    assert [line.message for line in service.logs("away")] == [str(number) for number in range(100, 300)]
    service.close()
