"""The process that completes the traces of a store's dead runs, told through its standard input which store that is."""

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from ktrdr_otel import beside
from ktrdr_otel.errors import KtrdrOtelError
from ktrdr_otel.exporters.closing import Receivers, pay
from ktrdr_otel.operations.models import Worker
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings

logger = logging.getLogger(__name__)

# A receiver that does not come back by then is tried by the next server or command line that looks at the store.
PATIENCE_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 5.0
_LATER: Final = "the next server or ktrdr-otel command that looks at the store tries again, for a day"


class Outages:
    """Traces that could not be completed so far, each said once when it fails and once when that ends."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}  # by operation: what went wrong last

    def failed(self, operation_id: str, why: str) -> None:
        """It was tried in vain, and will be again."""
        if operation_id not in self._why:
            logger.warning(
                "the trace of operation %s is not complete: %s; tries go on for %.0f s, then %s",
                operation_id,
                why,
                PATIENCE_SECONDS,
                _LATER,
            )
        self._why[operation_id] = why

    def over(self, operation_id: str) -> None:
        """It is complete."""
        if self._why.pop(operation_id, None) is None:
            logger.info("the trace of operation %s is complete", operation_id)
        else:
            logger.warning("the trace of operation %s is complete after all", operation_id)

    def give_up(self) -> None:
        """Nothing more is tried here."""
        for operation_id, why in self._why.items():
            logger.warning("the trace of operation %s stays incomplete: %s; %s", operation_id, why, _LATER)


def main() -> None:
    """Everything that is owed has been sent, or will be tried by somebody else."""
    config = beside.told()
    service = open_service(load_settings(database=config["database"]))
    try:
        receivers, outages = Receivers(this_worker()), Outages()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not close_traces(service, receivers, outages, first_for=config.get("first_for")):
            if time.monotonic() >= deadline:
                outages.give_up()
                return
            time.sleep(_PAUSE_SECONDS)
    except KtrdrOtelError as error:
        logger.warning("traces stay incomplete: %s; %s", error, _LATER)
    finally:
        service.close()


def close_traces(
    service: OperationsService,
    receivers: Receivers,
    outages: Outages,
    *,
    first_for: Mapping[str, Any] | None = None,
) -> bool:
    """Whether nothing is owed that could be sent from here; safe from many processes at once.

    Of the process that `first_for` names we have the credentials, and so do not wait for our turn.
    """
    is_done = True
    for operation_id in service.traces.owed(due=False):
        look = service.traces.debt(operation_id)
        exporters = None if look is None else receivers.exporters_for(look)
        if look is None or exporters is None:
            continue  # complete by now, or somebody else's to send: to take the turn would only hold them up
        debt = service.traces.take(operation_id, first=_process(look.worker) == first_for)
        if debt is None:
            is_done = False  # another process sends it, or it is to be tried later
            continue
        problems = pay(
            debt,
            service.logs(operation_id),
            service.traces.checkpoints(debt),
            exporters,
            partial(service.traces.arrived, operation_id),
        )
        if problems:
            service.traces.put_off(operation_id, list(problems))
            outages.failed(operation_id, "; ".join(problems.values()))
            is_done = False
        else:
            service.traces.complete(operation_id)
            outages.over(operation_id)
    return is_done


def _process(worker: Worker) -> dict[str, Any]:
    return {"boot_id": worker.boot_id, "pid": worker.pid, "started_ticks": worker.pid_started_ticks}


if __name__ == "__main__":
    main()
