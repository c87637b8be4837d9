"""The trace that a training of a strategy file should leave, told from the file alone.

Nothing of the pipeline or the plugin is used: names are written out, as those who search for them write them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.acceptance.span_tree import Measured, Node


class ExpectedTree:
    """What the strategy's training on those symbols leaves; the sample strategy's inputs are fuzzy sets alone."""

    def __init__(self, strategy: Path, operation_id: str, symbols: Sequence[str], epochs: int) -> None:
        self._file: dict[str, Any] = yaml.safe_load(strategy.read_text())
        self._id = {"ktrdr.operation.id": operation_id}
        self._symbols = symbols
        self._epochs = epochs
        self._timeframes: list[str] = self._file["training_data"]["timeframes"]["list"]
        # Items per symbol and timeframe, in the order of the file.
        self._sets = {
            timeframe: [
                name
                for name in self._file["fuzzy_sets"]
                if any(
                    each.get("fuzzy_set") == name and each["timeframes"] in ("all", [timeframe])
                    for each in self._file["nn_inputs"]
                )
            ]
            for timeframe in self._timeframes
        }

    def completed(self) -> Node:
        """Of a training that has gone well."""
        return self._root(
            "completed",
            1.0,
            "Evaluating model",
            [
                *(self.symbol(symbol) for symbol in self._symbols),
                self._preparation("combining_data", {"ktrdr.symbol.total": len(self._symbols)}),
                self._preparation("splitting_data", {"ktrdr.sample.total": Measured(int, 1000, 20_000)}),
                self._preparation("creating_model", {"ktrdr.model.input_dimension": self._features()}),
                Node("training", self._id, [self._epoch(number) for number in range(1, self._epochs + 1)]),
                Node("evaluation", self._id | {"ktrdr.progress.type": "evaluation"}),
            ],
        )

    def failed_at_the_last_symbol(self, kind: str, message: str) -> Node:
        """Of one whose last symbol could not be loaded at all: each span from there to the root says why."""
        failing = self.symbol(self._symbols[-1])
        timeframe = failing.children[0]
        loading = timeframe.children[0]
        timeframe.children, failing.children = [loading], [timeframe]
        done = sum(len(list(self._units(self.symbol(each)))) for each in self._symbols[:-1])
        # Before training, 5 % in all: the steps of every symbol, and three of preparation.
        planned = sum(len(list(self._units(self.symbol(each)))) for each in self._symbols) + 3
        ratio = 0.05 * done / planned
        number = len(self._symbols)
        root = self._root(
            "failed",
            Measured(float, ratio - 1e-12, ratio + 1e-12),
            f"Processing {self._symbols[-1]} ({number}/{number}) [{self._timeframes[0]}] - Loading data",
            [*(self.symbol(each) for each in self._symbols[:-1]), failing],
        )
        for node in (root, failing, timeframe, loading):
            node.attributes = {**node.attributes, "error.type": kind}
            node.failed = message
            node.exceptions = [(kind, message)]
        return root

    def symbol(self, symbol: str) -> Node:
        """All that is done for one symbol."""
        place = self._id | {
            "ktrdr.symbol.name": symbol,
            "ktrdr.symbol.index": list(self._symbols).index(symbol) + 1,
            "ktrdr.symbol.total": len(self._symbols),
        }
        return Node(
            f"symbol {symbol}",
            place,
            [
                *(self._timeframe(timeframe, place) for timeframe in self._timeframes),
                _step("creating_features", place),
                _step("generating_labels", place),
            ],
        )

    def _timeframe(self, timeframe: str, symbol: dict[str, Any]) -> Node:
        place = symbol | {"ktrdr.timeframe": timeframe}
        sets = self._sets[timeframe]
        read = {self._file["fuzzy_sets"][name]["indicator"].split(".")[0] for name in sets}
        indicators = [name for name in self._file["indicators"] if name in read]
        return Node(
            f"timeframe {timeframe}",
            place,
            [
                _step("loading_data", place),
                *_items("indicator_computation", "computing_indicator", indicators, place),
                *_items("fuzzy_generation", "generating_fuzzy", sets, place),
            ],
        )

    def _root(self, status: str, ratio: object, message: str, children: list[Node]) -> Node:
        return Node(
            "operation",
            self._id
            | {
                "ktrdr.operation.type": "training",
                "ktrdr.operation.name": f"train {self._file['name']}",
                "ktrdr.operation.status": status,
                "ktrdr.progress.ratio": ratio,
                "ktrdr.progress.message": message,
            },
            children,
        )

    def _preparation(self, step: str, more: dict[str, Any]) -> Node:
        return Node(step, self._id | {"ktrdr.progress.type": "preparation", "ktrdr.step": step} | more)

    def _epoch(self, number: int) -> Node:
        return Node(
            "epoch",
            self._id
            | {
                "ktrdr.progress.type": "epoch",
                "ktrdr.item.index": number,
                "ktrdr.item.total": self._epochs,
                "ktrdr.training.loss": Measured(float, 1e-6, 10),
                "ktrdr.training.val_loss": Measured(float, 1e-6, 10),
                "ktrdr.training.accuracy": Measured(float, 0, 1),
                "ktrdr.training.val_accuracy": Measured(float, 0, 1),
                # Its schedule waits for three epochs without progress.
                "ktrdr.training.learning_rate": self._file["training"]["learning_rate"],
            },
        )

    def _features(self) -> int:
        """Every term of every set on every timeframe is a number that the network reads."""
        terms = {
            name: len(words) - 1 for name, words in self._file["fuzzy_sets"].items()
        }  # without `indicator`
        return sum(terms[name] for sets in self._sets.values() for name in sets)

    def _units(self, node: Node) -> list[Node]:
        inside = [unit for child in node.children for unit in self._units(child)]
        return [node, *inside] if "ktrdr.progress.type" in node.attributes else inside


def _step(step: str, place: dict[str, Any]) -> Node:
    return Node(step, place | {"ktrdr.progress.type": "preprocessing", "ktrdr.step": step})


def _items(kind: str, step: str, names: list[str], place: dict[str, Any]) -> list[Node]:
    return [
        Node(
            f"{step} {name}",
            place
            | {
                "ktrdr.progress.type": kind,
                "ktrdr.step": step,
                "ktrdr.item.name": name,
                "ktrdr.item.index": index,
                "ktrdr.item.total": len(names),
            },
        )
        for index, name in enumerate(names, 1)
    ]
