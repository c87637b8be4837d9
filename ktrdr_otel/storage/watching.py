"""What a watcher process needs to write, as text: it has no SQLAlchemy, and this package alone knows the tables."""

import re
from typing import Any, Final

from ktrdr_otel.storage.engine import BE_BRIEF, TAKE_TURN, TELL, Database
from ktrdr_otel.storage.rows import CHECKPOINT_COLUMNS

# In which only the watcher's own closer, which has the credentials, completes the trace.
_HEAD_START_NS: Final = 20 * 10**9
_PARTS: Final = {
    "mine": "worker_pid = :pid AND worker_pid_started_ticks = :ticks AND worker_boot_id = :boot AND status = 'running'",
    "this": "operation_id = :operation_id AND status = 'running'",
    "head_start": str(_HEAD_START_NS),
    "columns": ", ".join(CHECKPOINT_COLUMNS),
    "as_lost": ", ".join(
        {"ended_ns": ":ended_ns", "status": "'lost'"}.get(column, column) for column in CHECKPOINT_COLUMNS
    ),
}
READING: Final = ("running", "flags", "place")
# Every value is a parameter; the parts are our own words.
_STATEMENTS: Final[dict[str, str]] = {
    "running": "SELECT operation_id FROM operations WHERE {mine}",
    # As text: one driver would else read the JSON, the other not.
    "flags": "SELECT stalled, suspended, CAST(stall AS TEXT) FROM operations WHERE {mine} AND (stalled OR suspended)",
    "beat": """
        UPDATE operations SET heartbeat_ns = :wall_ns, heartbeat_monotonic_ns = :monotonic_ns
        WHERE {mine} AND heartbeat_monotonic_ns < :late_monotonic_ns
    """,
    "stalled": "UPDATE operations SET stalled = true, stall = :stall WHERE {this}",
    "goes_on": """
        UPDATE operations SET stalled = false, stall = :stall, moved_ns = :wall_ns, moved_monotonic_ns = :monotonic_ns
        WHERE {this}
    """,
    "place": "SELECT message, CAST(context AS TEXT) FROM operations WHERE {this}",
    "is_in": "UPDATE operations SET message = :message, context = :context WHERE {this}",
    "suspended": "UPDATE operations SET suspended = true WHERE {this}",
    # Whoever reads judges by when it moved last: what has moved again since is newer.
    "resumed": """
        UPDATE operations SET moved_ns = moved_ns + :stopped_ns, moved_monotonic_ns = moved_monotonic_ns + :stopped_ns
        WHERE {this} AND moved_monotonic_ns <= :since_ns;
        UPDATE operations SET suspended = false WHERE {this}
    """,
    "sample": """
        INSERT INTO samples (operation_key, at_ns, cpu_share, rss_bytes, limit_bytes)
        SELECT key, :at_ns, :cpu_share, :rss_bytes, :limit_bytes FROM operations WHERE {this}
    """,
    # What is open takes a new place as lost; then the operation is, if it still ran.
    "lost": """
        INSERT INTO checkpoints ({columns}) SELECT {as_lost} FROM checkpoints
        WHERE operation_key = (SELECT key FROM operations WHERE {this}) AND ended_ns IS NULL ORDER BY sequence;
        DELETE FROM checkpoints
        WHERE operation_key = (SELECT key FROM operations WHERE {this}) AND ended_ns IS NULL;
        UPDATE trace_exports SET owed = true, next_try_ns = :ended_ns + {head_start}, tries = 0
        WHERE operation_key = (SELECT key FROM operations WHERE {this});
        UPDATE operations SET status = 'lost', lost_reason = :reason, ended_ns = :ended_ns, stalled = false,
        suspended = false, estimated_remaining_seconds = NULL WHERE {this}
    """,
}


def watching(database: Database) -> dict[str, Any]:
    """The statements by name, each with the values it takes as named parameters; and where to send them."""
    return {
        "is_postgresql": database.is_postgresql,
        "reading": READING,
        "database": _address(database),
        "statements": {name: _worded(database, name, statements) for name, statements in _STATEMENTS.items()},
    }


def _worded(database: Database, name: str, statements: str) -> list[str]:
    """One by one, with parameters as the driver wants them; on PostgreSQL in turn with other writers, and told."""
    each = [" ".join(statement.split()) for statement in statements.format(**_PARTS).split(";")]
    if not database.is_postgresql:
        return each
    if name not in READING:
        each = [BE_BRIEF.text, TAKE_TURN.text, *each, TELL.text]
    return [re.sub(r":(\w+)", r"%(\1)s", statement) for statement in each]


def _address(database: Database) -> str:
    if not database.is_postgresql:
        return database.path
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
