"""What the API takes and gives, as its OpenAPI document says it."""

from typing import Any

from pydantic import BaseModel, Field


class PhaseForm(BaseModel):
    """How far a phase is."""

    completed: int
    planned: int


class ErrorForm(BaseModel):
    """The exception that ended it; of an operation also the traceback, and what its other threads did then."""

    type: str
    message: str
    step: str | None = None
    traceback: str | None = None


class StallForm(BaseModel):
    """A time in which an operation lived and did not move; `until` is null while it lasts."""

    since: str
    until: str | None
    step: str
    activity: str
    stack: str
    noticed_at: str | None = Field(description="when it was told from a pause; the stack is of then")


class LinksForm(BaseModel):
    """Where else to look."""

    trace: str | None
    dashboard: str | None


class OperationForm(BaseModel):
    """One run of a long job. Times are ISO 8601, UTC."""

    operation_id: str
    operation_type: str
    name: str
    status: str = Field(description="pending, running, completed, failed, cancelled or lost")
    phase: str | None
    percentage: float = Field(description="0-100, never falls")
    message: str
    context: dict[str, Any]
    started_at: str
    ended_at: str | None
    last_progress_at: str | None
    heartbeat_at: str | None
    estimated_remaining_seconds: float | None
    items_completed: int
    items_planned: int | None
    phases: dict[str, PhaseForm]
    trace_id: str | None
    slow: bool
    stalled: bool
    suspended: bool
    allowance_seconds: float | None = Field(description="how long it may stand still now")
    stall: StallForm | None = Field(default=None, description="the newest")
    error: ErrorForm | None = None
    lost_reason: str | None = None
    cancel_reason: str | None = None
    links: LinksForm


class OperationsPage(BaseModel):
    """Operations, the newest first."""

    operations: list[OperationForm]
    next: str | None = Field(description="the cursor of the next page; null on the last")


class CheckpointForm(BaseModel):
    """One instrumented point of an operation, open or ended."""

    sequence: int
    progress_type: str | None
    name: str
    step: str | None
    symbol: str | None
    symbol_index: int | None = Field(description="1-based")
    symbol_total: int | None
    timeframe: str | None
    item_name: str | None
    item_index: int | None
    item_total: int | None
    started_at: str
    ended_at: str | None
    status: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    metrics: dict[str, float | None]
    attributes: dict[str, Any] | None = Field(
        default=None, description="of its span: those that are nowhere else here"
    )
    error: ErrorForm | None = None


class CheckpointsPage(BaseModel):
    """Checkpoints in the order in which they changed."""

    checkpoints: list[CheckpointForm]
    next: int | None = Field(description="the cursor of the next page; null on the last")


class MetricsForm(BaseModel):
    """The metrics of one epoch, or of another step that has some."""

    sequence: int
    progress_type: str | None
    epoch: int | None = Field(description="0-based; null for what is no epoch")
    at: str | None
    loss: float | None = None
    accuracy: float | None = None
    learning_rate: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None


class MetricsPage(BaseModel):
    """Metrics in the order in which they came."""

    metrics: list[MetricsForm]
    next: int | None = Field(description="the cursor of the next page; null on the last")


class LogForm(BaseModel):
    """A record that the program has logged, as it was logged."""

    sequence: int
    at: str
    level: str
    logger: str
    message: str
    trace_id: str | None
    span_id: str | None
    step: str | None = Field(description="the words for the step in which it was logged")
    file: str | None = Field(default=None, description="where it was logged")
    line: int | None = None
    function: str | None = None


class LogsPage(BaseModel):
    """The last log records, in order."""

    logs: list[LogForm]


class SampleForm(BaseModel):
    """What an operation's process used at a moment."""

    at: str
    cpu_share: float = Field(description="cores that were busy since the sample before")
    rss_bytes: int
    limit_bytes: int | None = Field(description="of its cgroup")


class SamplesPage(BaseModel):
    """Samples in order; of a long run neighbours are put together: mean CPU share, highest memory."""

    samples: list[SampleForm]


class CancelForm(BaseModel):
    """Why it should stop."""

    reason: str = Field(default="Cancelled by request", min_length=1, max_length=500)


class CancelRequested(BaseModel):
    """It has been asked."""

    operation_id: str
    cancel_requested: bool
    reason: str


class StackForm(BaseModel):
    """All threads of a process, the innermost frame first."""

    stack: str


class Problem(BaseModel):
    """What is wrong, in one sentence."""

    detail: str


class Health(BaseModel):
    """The server answers, and its store."""

    status: str
    store: str
