"""A trace as a tree, read from a file of OTLP JSON lines."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ERROR: Final = 2  # status code
_READ: Final = {"intValue": int, "doubleValue": float, "stringValue": str, "boolValue": bool}


@dataclass(frozen=True)
class Measured:
    """Equals any number of that kind from `least` to `most`: how many rows there are, how well a model did."""

    kind: type
    least: float
    most: float

    def __eq__(self, other: object) -> bool:
        return type(other) is self.kind and self.least <= other <= self.most  # type: ignore[operator]

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Node:
    """A span: all its attributes, why it failed (None: it did not), and the spans inside it."""

    name: str
    attributes: Mapping[str, Any]
    children: "list[Node]" = field(default_factory=list)
    failed: str | None = None  # the description of its status
    exceptions: list[tuple[str, str]] = field(default_factory=list)  # type and message of each such event

    def rows(self, path: str = "") -> Iterator[tuple[Any, ...]]:
        """It and all below it, each with its path: trees are the same if their rows are, and a difference is short."""
        here = f"{path}/{self.name}"
        yield here, self.failed, self.exceptions, len(self.children), dict(sorted(self.attributes.items()))
        for child in self.children:
            yield from child.rows(here)


def spans_of(trace_file: Path) -> list[dict[str, Any]]:
    """All spans of the file, as they are."""
    return [
        span
        for line in trace_file.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def read_tree(trace_file: Path) -> Node:
    """The only trace of the file, with the spans inside each in order of their starts.

    Fails if there are two roots, a span is there twice or has no parent, or is not inside its parent's time.
    """
    spans = spans_of(trace_file)
    by_id = {span["spanId"]: span for span in spans}
    assert len(by_id) == len(spans), "a span is there twice"
    assert len({span["traceId"] for span in spans}) == 1
    below: dict[str, list[dict[str, Any]]] = {}
    for span in sorted(spans, key=lambda span: int(span["startTimeUnixNano"])):
        parent = span.get("parentSpanId") or ""
        below.setdefault(parent, []).append(span)
        if parent:
            assert parent in by_id, f"{span['name']} is an orphan"
            around = by_id[parent]
            assert int(around["startTimeUnixNano"]) <= int(span["startTimeUnixNano"])
            assert int(span["endTimeUnixNano"]) <= int(around["endTimeUnixNano"])

    def node(span: dict[str, Any]) -> Node:
        events = span.get("events") or []
        assert {event["name"] for event in events} <= {"exception"}
        said = [_plain(event["attributes"]) for event in events]
        assert all(each["exception.stacktrace"].startswith("Traceback") for each in said)
        status = span.get("status") or {}
        return Node(
            span["name"],
            _plain(span["attributes"]),
            [node(child) for child in below.get(span["spanId"], [])],
            status.get("message", "") if status.get("code", 0) == ERROR else None,
            [(each["exception.type"], each["exception.message"]) for each in said],
        )

    [root] = below[""]
    return node(root)


def _plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    plain = {}
    for each in attributes:
        [(kind, value)] = each["value"].items()
        plain[each["key"]] = _READ[kind](value)
    return plain
