"""What can go wrong in the pipeline.

PipelineError
├── InputError      something a user handed in is wrong: one clear line, before any work has begun
└── TrainingError   the work itself cannot go on: too little left to train on, a loss that is not finite
"""

from pathlib import Path


class PipelineError(Exception):
    """The pipeline cannot do what it was asked to do; the message is one line for a person."""


class InputError(PipelineError):
    """Something a user handed in is wrong.

    The message reads `<source>: <where>: <what>; <hint>`, each part left out where there is none.
    """

    def __init__(
        self,
        what: str,
        *,
        source: Path | str | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.source = source
        self.where = where
        self.hint = hint
        place = ": ".join(str(part) for part in (source, where) if part)
        line = f"{place}: {what}" if place else what
        super().__init__(f"{line}; {hint}" if hint else line)


class TrainingError(PipelineError):
    """The training cannot go on."""
