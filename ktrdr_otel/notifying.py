"""The process that follows one operation and sends what is news of it, told through its standard input."""

from ktrdr_otel import beside
from ktrdr_otel.clock import SystemClock
from ktrdr_otel.notify import Notifier, Outbox
from ktrdr_otel.operations.logs import Logged
from ktrdr_otel.operations.models import Operation
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings

_LAST_MESSAGES_SECONDS = 30.0


def main() -> None:
    """The operation has been followed to its end."""
    config = beside.told()
    service = open_service(load_settings(database=config["database"]))

    def keep(operation_id: str, why: str) -> None:
        """The program may be gone, and its log with it: the operation's record says it."""
        at_ns = SystemClock().wall_ns()
        service.write(
            Batch(logs=[Logged(operation_id, at_ns, "WARNING", "ktrdr_otel.notify", why, None, None, {})])
        )

    outbox = Outbox(config["urls"], keep)
    notifier = Notifier(outbox)
    for news in service.follow(config["operation_id"]):
        if isinstance(news, Operation):
            notifier.stored([news], (), 0)
    outbox.close(_LAST_MESSAGES_SECONDS)
    service.close()


if __name__ == "__main__":
    main()
