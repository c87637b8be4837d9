"""Old steps do not pile up: `--keep-days`."""

import asyncio
import logging
from typing import Final

from ktrdr_otel.errors import StoreError
from ktrdr_otel.operations.service import OperationsService

logger = logging.getLogger(__name__)

_SECONDS_PER_DAY: Final = 86_400
_BETWEEN_SECONDS: Final = 3_600


async def forget_old_steps(service: OperationsService, keep_days: float) -> None:
    """Now and then every hour, steps of operations that ended longer ago are deleted, until it is cancelled."""
    while True:
        try:
            forgotten = await asyncio.to_thread(
                service.forget_steps, older_than_seconds=keep_days * _SECONDS_PER_DAY
            )
        except StoreError as error:
            logger.warning("old steps could not be deleted: %s; trying again in an hour", error)
        else:
            if forgotten:
                logger.info(
                    "%d steps of operations that ended over %g days ago deleted", forgotten, keep_days
                )
        await asyncio.sleep(_BETWEEN_SECONDS)
