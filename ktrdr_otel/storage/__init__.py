"""The store: one schema for SQLite and PostgreSQL."""

from ktrdr_otel.settings import Settings
from ktrdr_otel.storage.engine import Database
from ktrdr_otel.storage.schema import bring_up_to_date
from ktrdr_otel.storage.sql import SqlOperationStore

__all__ = ["SqlOperationStore", "open_store"]


def open_store(settings: Settings) -> SqlOperationStore:
    """The store that the settings name, at the present schema; raises `StoreUnavailableError`."""
    database = Database(settings.database_url)
    bring_up_to_date(database)
    return SqlOperationStore(database)
