"""What ktrdr-otel tells its callers has gone wrong. Faults of observing itself are contained, never raised.

KtrdrOtelError
├── CancellationError           somebody asked the operation to stop
├── SettingsError               a setting cannot be used as it stands
├── UncancellableError          the operation has ended, or its process does not write to this store
└── StoreError                  the operations' store
    ├── StoreUnavailableError   it cannot be opened, read or written
    ├── OperationExistsError    the operation id is taken
    └── UnknownOperationError   there is no operation of that id
"""


class KtrdrOtelError(Exception):
    """The base of all that ktrdr-otel raises; the message is one line for a person."""


class CancellationError(KtrdrOtelError):
    """Somebody asked the operation to stop; raised at the next checkpoint or batch tick."""

    def __init__(self, reason: str = "Operation cancelled") -> None:
        self.reason = reason
        super().__init__(reason)


class SettingsError(KtrdrOtelError):
    """A setting cannot be used as it stands."""


class UncancellableError(KtrdrOtelError):
    """Nobody would hear a request to cancel the operation: it has ended, or is only reported here."""


class StoreError(KtrdrOtelError):
    """The operations' store refused a request."""


class StoreUnavailableError(StoreError):
    """The store cannot be opened, read or written."""

    def __init__(self, store: str, why: str) -> None:
        self.store = store
        self.why = why
        super().__init__(f"{store}: {why}")


class OperationExistsError(StoreError):
    """The operation id is taken."""

    def __init__(self, operation_id: str) -> None:
        self.operation_id = operation_id
        super().__init__(f"operation {operation_id} exists already; choose another id")


class UnknownOperationError(StoreError):
    """There is no operation of that id."""

    def __init__(self, operation_id: str) -> None:
        self.operation_id = operation_id
        super().__init__(f"no operation {operation_id}; `operations list` shows those there are")


def message_of(error: BaseException) -> str:
    """What the exception says, also of one that cannot even be asked."""
    try:
        return str(error)
    except Exception as fault:
        return f"its message cannot be read: {type(fault).__name__}"
