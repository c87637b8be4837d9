"""Brings a database to the schema that this version knows."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, inspect, text

from ktrdr_otel.errors import StoreUnavailableError
from ktrdr_otel.storage.engine import Database
from ktrdr_otel.storage.tables import SCHEMA_REVISION


def bring_up_to_date(database: Database) -> None:
    """The database has the tables that this version knows.

    Safe when several processes open a fresh database at once: one migrates, the others wait for it. Raises
    `StoreUnavailableError` when the database cannot be opened or written, is no database, or is newer than this.
    """
    with database.reading() as connection:
        revision = _revision(connection)
    if revision == SCHEMA_REVISION:
        return
    with database.writing(durable=True) as connection:
        if connection.dialect.name == "postgresql":
            # The transaction of whoever comes first is waited for; any number will do that all agree on.
            connection.execute(text("SELECT pg_advisory_xact_lock(7305147)"))
        _migrate(database.name, connection)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """An application that logs at INFO is not told of each table."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if revision is None else str(revision)


def _migrate(name: str, connection: Connection) -> None:
    # Alembic takes a quarter of a second to import, which a database that is up to date should not cost.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    revision = _revision(connection)
    if revision == SCHEMA_REVISION:
        return
    config = Config()
    config.set_main_option("script_location", "ktrdr_otel.storage:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    if revision is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(revision)
        except CommandError as error:
            raise StoreUnavailableError(
                name,
                f"its schema ({revision}) is newer than this ktrdr-otel knows ({SCHEMA_REVISION}); upgrade ktrdr-otel",
            ) from error
    with _quiet("alembic"):
        command.upgrade(config, "head")
