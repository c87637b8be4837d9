"""The process that completes the traces of a store's dead runs, told through its standard input which store that is."""

import logging
import time
from typing import Final

from ktrdr_otel import beside
from ktrdr_otel.errors import KtrdrOtelError
from ktrdr_otel.exporters.closing import Receivers, pay
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.worker import boot_id
from ktrdr_otel.settings import load_settings
from ktrdr_otel.wiring import open_service

logger = logging.getLogger(__name__)

# A receiver that does not come back by then is tried by the next server or command line that looks at the store.
_PATIENCE_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 5.0


def main() -> None:
    """Everything that is owed has been sent, or will be tried by somebody else."""
    config = beside.told()
    service = open_service(load_settings(database=config["database"]))
    try:
        receivers = Receivers(boot_id())
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not close_traces(service, receivers) and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
    except KtrdrOtelError as error:
        logger.warning("traces stay incomplete: %s", error)
    finally:
        service.close()


def close_traces(service: OperationsService, receivers: Receivers) -> bool:
    """Whether nothing is owed that could be sent from here; safe from many processes at once."""
    is_done = True
    for operation_id in service.traces_owed():
        debt = service.take_trace(operation_id)
        if debt is None:
            continue  # another process was faster
        exporters = receivers.exporters_for(debt)
        if exporters is None:
            service.put_off_trace(operation_id)
            continue
        problem = pay(
            debt,
            service.owed_checkpoints(operation_id, debt.confirmed),
            exporters,
            lambda place, operation_id=operation_id: service.confirm_trace(operation_id, place),  # type: ignore[misc] # bound early
        )
        if problem is None:
            service.trace_complete(operation_id)
            logger.info("the trace of operation %s is complete", operation_id)
        else:
            service.put_off_trace(operation_id)
            logger.warning("the trace of operation %s is not complete: %s", operation_id, problem)
            is_done = False
    return is_done


if __name__ == "__main__":
    main()
