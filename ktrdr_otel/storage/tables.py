"""The store's tables, one schema for SQLite and PostgreSQL; migrations make them, this module reads and writes them.

Times are nanoseconds since the Unix epoch (`_ns`), UTC, but for `heartbeat_monotonic_ns`, which is the worker's
CLOCK_MONOTONIC. Ids of traces and spans are lowercase hex.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    false,
    text,
)

# The newest migration: a database that says so needs none, and Alembic is not even imported.
SCHEMA_REVISION: Final = "0006"

metadata = MetaData()

# SQLite counts up only in a column that is exactly INTEGER PRIMARY KEY.
_RISING = BigInteger().with_variant(Integer, "sqlite")

operations = Table(
    "operations",
    metadata,
    Column("key", _RISING, primary_key=True, autoincrement=True),  # rises with each begin: newest is highest
    Column("operation_id", Text, nullable=False, unique=True),
    Column("operation_type", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("phase", Text),
    Column("percentage", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("context", JSON, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("last_progress_ns", BigInteger),
    Column("estimated_remaining_seconds", Double),
    Column("items_completed", BigInteger, nullable=False),
    Column("items_planned", BigInteger),
    Column("phases", JSON(none_as_null=True)),  # phase -> [finished, planned]
    Column("trace_id", Text),
    Column("span_id", Text),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("error_step", Text),
    Column("error_traceback", Text),
    Column("moved_ns", BigInteger),  # a start, an end or a tick, whichever was last
    Column("moved_monotonic_ns", BigInteger),
    Column("allowance_seconds", Double),  # how long it may stand still now
    Column("slow_after_seconds", Double),
    Column("stalled", Boolean, nullable=False, server_default=false()),  # by its watcher
    Column("suspended", Boolean, nullable=False, server_default=false()),
    Column("stall", JSON(none_as_null=True)),  # the newest
    Column("cancel_reason", Text),
    Column("lost_reason", Text),
    Column("lease_seconds", Double, nullable=False),
    Column("heartbeat_ns", BigInteger, nullable=False),
    Column("heartbeat_monotonic_ns", BigInteger, nullable=False),
    Column("worker_host", Text, nullable=False),
    Column("worker_boot_id", Text, nullable=False),
    Column("worker_pid", BigInteger, nullable=False),
    Column("worker_pid_started_ticks", BigInteger, nullable=False),
    Column("worker_pid_namespace", Text, nullable=False),
    Index("operations_by_status", "status", "key"),
    Index("operations_by_type", "operation_type", "key"),
    sqlite_autoincrement=True,
)

# A row is written again, under a new sequence, when its step ends after a flush that saw it open: who reads
# what comes after a cursor misses neither starts nor ends.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("sequence", _RISING, primary_key=True, autoincrement=True),
    Column("operation_key", _RISING, ForeignKey("operations.key", ondelete="CASCADE"), nullable=False),
    Column("progress_type", Text),
    Column("name", Text, nullable=False),
    Column("step", Text),
    Column("symbol", Text),
    Column("symbol_index", BigInteger),
    Column("symbol_total", BigInteger),
    Column("timeframe", Text),
    Column("item_name", Text),
    Column("item_index", BigInteger),
    Column("item_total", BigInteger),
    Column("started_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("status", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("span_id", Text, nullable=False),
    Column("parent_span_id", Text),
    Column("metrics", JSON(none_as_null=True)),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("export_place", BigInteger),  # of its span in the export queue; null: it was not given one
    Column("attributes", JSON(none_as_null=True)),  # of its span: those that have no column
    Index("checkpoints_of_operation", "operation_key", "sequence"),
    Index("checkpoints_by_span", "operation_key", "span_id"),
    # The end of an operation closes what is open: a handful of rows among millions.
    Index(
        "checkpoints_open",
        "operation_key",
        "sequence",
        sqlite_where=text("ended_ns IS NULL"),
        postgresql_where=text("ended_ns IS NULL"),
    ),
    Index(
        "checkpoints_with_metrics",
        "operation_key",
        "sequence",
        sqlite_where=text("metrics IS NOT NULL"),
        postgresql_where=text("metrics IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

# What completed operations have taught: a histogram per kind of unit, so that a mean and a p99 cost the same
# whether a thousand units or a billion were seen. "" stands for no item and no timeframe.
durations = Table(
    "durations",
    metadata,
    Column("progress_type", Text, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("timeframe", Text, primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),  # `operations.durations.bucket_of`
    Column("units", BigInteger, nullable=False),
    Column("total_ns", BigInteger, nullable=False),
)

# What an operation's process used, every few seconds while it was watched.
samples = Table(
    "samples",
    metadata,
    Column("sample", _RISING, primary_key=True, autoincrement=True),
    Column("operation_key", _RISING, ForeignKey("operations.key", ondelete="CASCADE"), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("cpu_share", Double, nullable=False),  # cores
    Column("rss_bytes", BigInteger, nullable=False),
    Column("limit_bytes", BigInteger),
    Index("samples_of_operation", "operation_key", "sample"),
    sqlite_autoincrement=True,
)

# The last records that the program logged, per operation.
logs = Table(
    "logs",
    metadata,
    Column("sequence", _RISING, primary_key=True, autoincrement=True),
    Column("operation_key", _RISING, ForeignKey("operations.key", ondelete="CASCADE"), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("level", Text, nullable=False),
    Column("logger", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("trace_id", Text),
    Column("span_id", Text),
    Column("step", Text),
    Column("file", Text),
    Column("line", BigInteger),
    Column("function", Text),
    Index("logs_of_operation", "operation_key", "sequence"),
    sqlite_autoincrement=True,
)

cancel_requests = Table(
    "cancel_requests",
    metadata,
    Column("operation_key", _RISING, ForeignKey("operations.key", ondelete="CASCADE"), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("requested_ns", BigInteger, nullable=False),
)

# Where the trace of an operation goes, and how much of it has arrived.
trace_exports = Table(
    "trace_exports",
    metadata,
    Column(
        "operation_key",
        _RISING,
        ForeignKey("operations.key", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("receivers", JSON, nullable=False),  # [{protocol, endpoint}]
    Column("live", Text, nullable=False),
    Column("resource", JSON, nullable=False),
    Column("scope_version", Text, nullable=False),
    Column("confirmed", BigInteger, nullable=False, server_default="0"),  # up to this `export_place`
    Column("owed", Boolean, nullable=False, server_default=false()),  # its process can export no more
    Column("next_try_ns", BigInteger, nullable=False, server_default="0"),  # whoever moves it on has the turn
    Column("tries", Integer, nullable=False, server_default="0"),
    Index("trace_exports_owed", "owed", "next_try_ns"),
)

# Spans that receivers know by a marker: their ends are children of it.
trace_marks = Table(
    "trace_marks",
    metadata,
    Column(
        "operation_key",
        _RISING,
        ForeignKey("operations.key", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("span_id", Text, primary_key=True),
)
