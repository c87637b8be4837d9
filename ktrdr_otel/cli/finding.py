"""One thing that `ktrdr-otel doctor` has looked at."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at; `advice` where something is wrong or less than it could be."""

    name: str
    state: Literal["ok", "warning", "error"]
    what: str
    advice: str | None = None
