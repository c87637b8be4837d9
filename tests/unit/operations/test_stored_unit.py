"""Units from what the store keeps of them."""

from ktrdr_otel.operations.models import CheckpointStatus
from ktrdr_otel.operations.stored_unit import unit_of
from tests.unit.operations.test_retelling import STEP, checkpoint


def test_a_step_whose_process_was_lost_has_not_ended_well() -> None:
    """It has an end in the store, and no error of its own."""
    unit = unit_of(checkpoint(STEP, CheckpointStatus.LOST))

    assert unit.ended_ns is not None
    assert unit.error is not None
    assert unit.error.type == "lost"
    assert not unit.is_finished_work
