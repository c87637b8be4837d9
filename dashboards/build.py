"""Boards as the JSON files that Grafana reads."""

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.health import health
from dashboards.operations import operations
from dashboards.preprocessing import preprocessing
from dashboards.training import training

FOLDER: Final = Path(__file__).parent / "grafana" / "boards"
_BOARDS: Final = (operations, preprocessing, training, health)


def boards() -> dict[str, str]:
    """The text of each board's file, by the file's name."""
    made = {}
    for board in _BOARDS:
        model = board().build()
        made[f"{model.uid}.json"] = json.dumps(model, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
    return made


def write(folder: Path = FOLDER) -> list[Path]:
    """The folder has every board, and no other."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = boards()
    for path in folder.glob("*.json"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text)
    return sorted(folder / name for name in texts)


def differences(folder: Path = FOLDER) -> list[str]:
    """Names of files that are not what `write` would make of them."""
    texts = boards()
    there = {path.name: path.read_text() for path in folder.glob("*.json")}
    return sorted(name for name in texts.keys() | there.keys() if texts.get(name) != there.get(name))
