"""How the trace of an operation is exported, as far as it has to be known after its process is gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReceiver:
    """Where spans go."""

    protocol: str  # http/protobuf or grpc
    endpoint: str  # without user and password: it is stored


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceExport:
    """How the trace of an operation is exported."""

    receivers: Sequence[TraceReceiver]
    live: str  # snapshot, markers or off
    resource: Mapping[str, object]  # attributes of the spans' resource
    scope_version: str


class ExportLedger(Protocol):
    """What an exporter tells of its progress; asked by the writer's thread."""

    @property
    def confirmed(self) -> int:
        """The place up to which all spans have left for good."""
        ...

    def take_marked(self, operation_id: str) -> Mapping[int, bool]:
        """By id the operation's spans of which it is news whether they have a marker, since the last call."""
        ...
