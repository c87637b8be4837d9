"""The folder of one run: inside the output folder whatever its operation is called, in the place of nothing else."""

import hashlib
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pipeline.errors import InputError

# Bytes: a file system takes 255, and the snapshot is written beside it under a longer name.
_LONGEST_NAME: Final = 200
_DIGEST: Final = 32  # characters


def folder_name(operation_id: str) -> str:
    """One plain file name for the id, another one for each other id; ids that are plain names stay as they are.

    >>> folder_name("training-1"), folder_name("nightly/2026 11"), folder_name("..")
    ('training-1', 'nightly%2F2026%2011', '%2E.')
    """
    name = quote(operation_id, safe="")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(operation_id.encode()).hexdigest()[:_DIGEST]
        # Two "%" in a row are in no encoded name, so that no other id has this one.
        name = f"{name[: _LONGEST_NAME - _DIGEST - 2]}%%{digest}"
    return name


def run_folder(output: Path, operation_id: str) -> Path:
    """Where the run's model snapshot goes.

    The output folder is there and can be written to. Raises `InputError` where it cannot, or where something else than
    a model snapshot has the place: a snapshot replaces what was there before.
    """
    _make(output)
    folder = output / folder_name(operation_id)
    from pipeline.snapshot import is_snapshot  # loads torch

    if folder.exists() and not is_snapshot(folder):
        raise InputError(
            "is there already and is no model snapshot",
            source=folder,
            hint="give another --output or --operation-id",
        )
    return folder


def _make(output: Path) -> None:
    missing: list[Path] = []
    try:
        missing += [each for each in (output, *output.parents) if not each.exists()]
        output.mkdir(parents=True, exist_ok=True)
        # The only way to know: permissions say nothing to root, and not everything about a network's file system.
        with tempfile.TemporaryDirectory(prefix=".", dir=output):
            pass
    except OSError as error:
        for each in missing:
            with suppress(OSError):  # it was never made, or is in use by now
                each.rmdir()
        raise InputError(
            f"cannot be written to: {error.strerror or error}",
            source=output,
            hint="give a folder by --output",
        ) from error
