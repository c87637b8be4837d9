"""Networks, losses, the training loop, judging and keeping: learned, stopped, clipped and loaded back."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from pipeline.device import threads_for
from pipeline.errors import InputError, TrainingError
from pipeline.evaluate import evaluate
from pipeline.features import Normaliser
from pipeline.losses import build_loss, cross_entropy, focal, huber
from pipeline.model import build_model
from pipeline.snapshot import load_snapshot, save_snapshot
from pipeline.train import Samples, TrainingSettings, seed_everything, train

T = TypeVar("T")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def two_clouds(rows: int = 300, seed: int = 0) -> Samples:
    """Two classes that a line parts."""
    source = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 2, (rows,), generator=source)
    features = torch.randn(rows, 4, generator=source) + 3.0 * targets.unsqueeze(1)
    return Samples(features, targets, torch.ones(rows))


@contextmanager
def quiet(_epoch: int, _epochs: int) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """An epoch that nobody watches."""
    yield lambda _metrics: None


def unwrapped(batches: Iterable[T], _total: int) -> Iterable[T]:
    """Batches that nobody counts."""
    return batches


def fit(settings: TrainingSettings, samples: Samples, **more: Any) -> tuple[torch.nn.Module, Any]:
    """A small network that has learned."""
    seed_everything(settings.seed)
    model = build_model("mlp", samples.features.shape[1], 2, {"hidden_layers": [8], "dropout": 0.1})
    wrapped = {"loss": cross_entropy, "epoch_scope": quiet, "batches": unwrapped, **more}
    return model, train(model, samples, two_clouds(100, 9), settings, device=CPU, **wrapped)


def settings(**given: Any) -> TrainingSettings:
    """Settings of a strategy."""
    return TrainingSettings.from_mapping(
        {"epochs": 12, "batch_size": 32, "learning_rate": 0.01, **given}, seed=3
    )


def test_what_can_be_learned_is_learned() -> None:
    """On rows that the network has not seen."""
    model, result = fit(settings(), two_clouds())
    figures = evaluate(model, two_clouds(200, 5), loss=cross_entropy, classes=("a", "b"), device=CPU)
    assert figures["accuracy"] > 0.95
    assert len(result.history) == 12
    assert result.history[-1]["val_loss"] < result.history[0]["val_loss"]
    confusion = np.array(figures["confusion"])
    assert confusion.sum() == 200
    assert figures["classes"]["a"]["support"] == confusion[0].sum()


def test_the_same_seed_gives_the_same_weights() -> None:
    """Bit by bit; another one does not."""
    first, _ = fit(settings(), two_clouds())
    second, _ = fit(settings(), two_clouds())
    other, _ = fit(settings().model_copy(update={"seed": 4}), two_clouds())
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)
    assert any(
        not torch.equal(left, right)
        for left, right in zip(first.parameters(), other.parameters(), strict=True)
    )


def test_an_early_stop_keeps_the_best_weights() -> None:
    """It stops `patience` epochs after the best one, whose weights the network then has."""
    given = settings(epochs=200, learning_rate=0.3, early_stopping={"patience": 2})
    model, result = fit(given, two_clouds(40))
    assert result.stopped_early
    assert len(result.history) == result.best_epoch + 3
    figures = evaluate(model, two_clouds(100, 9), loss=cross_entropy, classes=("a", "b"), device=CPU)
    assert figures["loss"] == pytest.approx(result.history[result.best_epoch]["val_loss"])


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({"type": "step", "step_size": 2, "gamma": 0.1}, [0.01, 0.01, 0.001, 0.001]),
        ({"type": "exponential", "gamma": 0.5}, [0.01, 0.005, 0.0025, 0.00125]),
        ({"type": "cosine"}, [0.01 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]),
    ],
)
def test_the_learning_rate_follows_its_schedule(schedule: dict[str, Any], rates: list[float]) -> None:
    """As recorded at the end of each epoch."""
    _, result = fit(settings(epochs=4, lr_scheduler=schedule), two_clouds())
    assert [metrics["learning_rate"] for metrics in result.history] == pytest.approx(rates)


def test_a_clipped_gradient_moves_no_further() -> None:
    """Plain descent with a clip of 0.01 and a rate of 1 moves the weights by at most 0.01 a batch."""
    given = settings(optimizer="sgd", learning_rate=1.0, epochs=1, batch_size=300, gradient_clip=0.01)
    seed_everything(given.seed)
    before = build_model("mlp", 4, 2, {"hidden_layers": [8], "dropout": 0.1})
    model, _ = fit(given, two_clouds())
    moved = [(new - old).detach() for new, old in zip(model.parameters(), before.parameters(), strict=True)]
    assert 0 < float(torch.cat([each.flatten() for each in moved]).norm()) <= 0.01 + 1e-6


def test_whatever_a_wrapper_raises_goes_through() -> None:
    """A cancellation ends the training where it is heard."""

    class StopError(Exception):
        """Somebody has had enough."""

    def stopping(batches: Iterable[T], _total: int) -> Iterator[T]:
        yield next(iter(batches))
        raise StopError

    with pytest.raises(StopError):
        fit(settings(), two_clouds(), batches=stopping)


def test_a_loss_that_is_no_number_is_said() -> None:
    """With the epoch and the batch."""
    broken = two_clouds()
    broken.features[0] = float("nan")
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1, batch \d+"):
        fit(settings(), broken)


def test_losses_by_formula() -> None:
    """Focal (Lin et al. 2017) and Huber (1964), row by row."""
    logits, targets = torch.tensor([[2.0, -1.0], [0.5, 0.3]]), torch.tensor([0, 1])
    chance = torch.softmax(logits, dim=1)[torch.arange(2), targets]
    assert torch.allclose(focal(logits, targets, 2.0), -((1 - chance) ** 2) * chance.log())
    assert torch.allclose(focal(logits, targets, 0.0), cross_entropy(logits, targets))
    outputs, wanted = torch.tensor([[0.2], [3.0]]), torch.tensor([0.0, 0.0])
    assert torch.allclose(huber(outputs, wanted, 1.0), torch.tensor([0.02, 2.5]))


def test_an_lstm_reads_windows() -> None:
    """Windows of rows, one target each."""
    source = torch.Generator().manual_seed(1)
    features = torch.randn(60, 3, generator=source)
    windows = torch.arange(5).unsqueeze(0) + torch.arange(56).unsqueeze(1)
    samples = Samples(features, features[windows[:, -1], 0], torch.ones(56), windows)
    model = build_model(
        "lstm", 3, 1, {"hidden_size": 8, "num_layers": 1, "sequence_length": 5, "dropout": 0.0}
    )
    loss = build_loss("huber", {"huber_delta": 0.5})
    given = settings(epochs=30)
    result = train(
        model, samples, samples, given, loss=loss, device=CPU, epoch_scope=quiet, batches=unwrapped
    )
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 2
    figures = evaluate(model, samples, loss=loss, classes=None, device=CPU)
    assert set(figures) == {"loss", "mae", "rmse", "r2", "directional_accuracy"}
    assert figures["r2"] > 0.5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": 0}, "training.epochs"),
        ({"optimizer": "magic"}, "training.optimizer"),
        ({"lr_scheduler": {"type": "step", "gama": 0.5}}, "training.lr_scheduler.gama"),
        ({"early_stopping": {"patience": 0}}, "training.early_stopping.patience"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(given: dict[str, Any], said: str) -> None:
    """With their place in the strategy."""
    with pytest.raises(InputError, match=said):
        TrainingSettings.from_mapping(given)


def test_an_architecture_that_cannot_be_built_is_one_line() -> None:
    """With what there is."""
    with pytest.raises(InputError, match=r"model\.architecture\.hiden_layers: unknown parameter"):
        build_model("mlp", 4, 2, {"hiden_layers": [3]})


def kept(folder: Path) -> tuple[Path, Samples, torch.nn.Module]:
    """A snapshot of a network that has learned from normalised features."""
    samples = two_clouds()
    normaliser = Normaliser.fit(samples.features.numpy(), ["zscore", "minmax", "none", "none"])
    scaled = Samples(
        torch.from_numpy(normaliser.apply(samples.features.numpy())), samples.targets, samples.weights
    )
    model, _ = fit(settings(), scaled)
    path = save_snapshot(
        folder / "snapshot",
        model,
        strategy={"name": "test"},
        model_type="mlp",
        architecture={"hidden_layers": [8], "dropout": 0.1},
        output_dim=2,
        feature_names=["a", "b", "c", "d"],
        classes=["down", "up"],
        normaliser=normaliser,
        metrics={"loss": 0.1},
        seed=3,
        operation_id="op",
        trace_id="ab" * 16,
    )
    return path, samples, model


def test_a_snapshot_predicts_as_the_model_did(tmp_path: Path) -> None:
    """The same numbers, bit by bit, from features that are not normalised; nothing half-written stays."""
    path, samples, model = kept(tmp_path)
    snapshot = load_snapshot(path)
    normaliser = Normaliser.from_dict(snapshot.facts["normaliser"])
    model.eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(normaliser.apply(samples.features.numpy()))).softmax(dim=1).numpy()
    np.testing.assert_array_equal(snapshot.predict(samples.features.numpy()), expected)
    assert snapshot.feature_names == ("a", "b", "c", "d")
    assert snapshot.classes == ("down", "up")
    assert (snapshot.facts["trace_id"], snapshot.facts["operation_id"]) == ("ab" * 16, "op")
    assert [each.name for each in tmp_path.iterdir()] == ["snapshot"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "snapshot.json").write_text("{"),
        lambda folder: (folder / "snapshot.json").write_text(json.dumps({"format": 99})),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04pickle"),
        lambda folder: (folder / "model.safetensors").unlink(),
    ],
)
def test_a_damaged_snapshot_is_one_line(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """Nothing in it is run."""
    path, _, _ = kept(tmp_path)
    damage(path)
    with pytest.raises(InputError, match="snapshot") as caught:
        load_snapshot(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("rows", "chosen", "threads"), [(64, None, 1), (10**6, None, 3), (64, "3", 3)])
def test_a_small_network_computes_with_one_thread(
    monkeypatch: pytest.MonkeyPatch, rows: int, chosen: str | None, threads: int
) -> None:
    """Not a large one, and not where somebody has chosen; afterwards there are as many as before."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    torch.set_num_threads(3)
    with threads_for(build_model("mlp", 240, 3, {"hidden_layers": [64, 32]}), rows):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 3
