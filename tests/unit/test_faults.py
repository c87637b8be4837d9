"""How faults of observing are told."""

import logging

import pytest

from ktrdr_otel import faults


def test_a_fault_is_said_with_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """One record, of the logger of the part at fault."""
    try:
        raise ValueError("100 %s")
    except ValueError:
        faults.report(logging.getLogger("ktrdr_otel.part"), "%s is lost", "a step")
    [said] = caplog.records
    assert said.name == "ktrdr_otel.part"
    assert said.getMessage().startswith("a step is lost: ValueError: 100 %s\n")
    assert "test_a_fault_is_said_with_where_it_was" in said.getMessage()


def test_a_log_that_raises_reaches_nobody() -> None:
    """A program's filter may be as broken as anything else."""

    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError("broken filter")

    logger = logging.getLogger("ktrdr_otel.part")
    logger.addFilter(broken)
    try:
        raise ValueError("a fault")
    except ValueError:
        faults.report(logger, "something is lost")
    finally:
        logger.removeFilter(broken)
