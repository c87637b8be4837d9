"""Reading a strategy file: every fault is one line that names the file, the place in it, and the nearest name."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.data import context_sources
from pipeline.errors import InputError
from pipeline.fuzzy.membership import build_membership
from pipeline.indicators import find_indicator
from pipeline.labels import check_labels, label_classes
from pipeline.strategy.faults import as_input_error, nearest
from pipeline.strategy.grammar import (
    TRAINING_KEYS,
    DateRange,
    NnInput,
    Section,
    StrategyFile,
    TrainingData,
)
from pipeline.strategy.read import read_mapping
from pipeline.strategy.strategy import FeatureSpec, FuzzySetSpec, IndicatorSpec, Strategy
from pipeline.timeframes import Timeframe


def load_strategy(
    path: Path,
    *,
    symbols: Sequence[str] | None = None,
    timeframes: Sequence[str] | None = None,
) -> Strategy:
    """The strategy of the file, checked; `symbols` and `timeframes` take the place of its own.

    Raises `InputError` for the first fault.
    """
    raw = read_mapping(path)
    try:
        return _build(path, raw, symbols, timeframes)
    except InputError as error:
        if error.source is not None:
            raise
        raise InputError(error.what, source=path, where=error.where, hint=error.hint) from error


def _build(
    path: Path, raw: dict[str, Any], symbols: Sequence[str] | None, timeframes: Sequence[str] | None
) -> Strategy:
    _refuse_v2(raw)
    file = _parsed(raw)
    data = file.training_data
    chosen = tuple(dict.fromkeys(symbols or data.symbols.names))
    if not chosen:
        raise InputError("no symbol", where="training_data.symbols", hint="give symbol or list")
    frames = _timeframes(tuple(timeframes or data.timeframes.names))
    base = _base_timeframe(file, frames, overridden=timeframes is not None)
    sources = _sources(file.context_data or ())
    indicators = {name: _indicator(name, entry, sources) for name, entry in file.indicators.items()}
    fuzzy_sets = {name: _fuzzy_set(name, entry, indicators) for name, entry in file.fuzzy_sets.items()}
    labels = file.training.labels or {"source": "zigzag"}
    check_labels(labels)
    classes = label_classes(labels)
    start, end = _dates(data)
    return Strategy(
        path=path,
        name=file.name,
        version=file.version,
        description=(file.description or "").strip(),
        symbols=chosen,
        timeframes=frames,
        base_timeframe=base,
        start_date=start,
        end_date=end,
        history_required=data.history_required,
        indicators=indicators,
        fuzzy_sets=fuzzy_sets,
        feature_specs=tuple(_features(file.nn_inputs, frames, base, indicators, fuzzy_sets)),
        context_data=tuple(file.context_data or ()),
        model_type=file.model.type,
        architecture=file.model.architecture,
        training={**file.model.training, **(file.training.model_extra or {})},
        labels=labels,
        loss=_loss(file, classes),
        split=(
            file.training.data_split.train,
            file.training.data_split.validation,
            file.training.data_split.test,
        ),
        decisions=file.decisions,
        ignored=tuple(_ignored(file)),
        raw=raw,
    )


def _refuse_v2(raw: Mapping[str, Any]) -> None:
    """ktrdr tells the versions apart by the shape: `version` is the author's own count."""
    if isinstance(raw.get("indicators"), list):
        raise InputError(
            "not a v3 strategy",
            where="indicators",
            hint="migrate it: indicators and fuzzy_sets are mappings by id, nn_inputs lists the features",
        )


def _parsed(raw: dict[str, Any]) -> StrategyFile:
    try:
        return StrategyFile.model_validate(raw)
    except ValidationError as error:
        raise as_input_error(error) from error


def _dates(data: TrainingData) -> tuple[str | None, str | None]:
    """From when to when, both checked; the two spellings of the grammar come to the same."""
    between = data.date_range or DateRange()
    start, end = data.start_date or between.start, data.end_date or between.end
    where = "training_data" if data.start_date or data.end_date else "training_data.date_range"
    moments = [_moment(text, where) for text in (start, end) if text is not None]
    if len(moments) == 2 and moments[0] > moments[1]:
        raise InputError(f"the start {start} is after the end {end}", where=where)
    return start, end


def _moment(text: str, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is not a date", where=where, hint="write it as 2024-01-31") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _timeframes(names: tuple[str, ...], where: str = "training_data.timeframes") -> tuple[str, ...]:
    if not names:
        raise InputError("no timeframe", where=where, hint="give at least one")
    try:
        return tuple(dict.fromkeys(Timeframe.parse(name).name for name in names))
    except InputError as error:
        raise InputError(error.what, where=where, hint=error.hint) from error


def _base_timeframe(file: StrategyFile, frames: tuple[str, ...], *, overridden: bool) -> str:
    given = file.training_data.timeframes.base_timeframe
    if given is None or (overridden and given not in frames):
        return min(frames, key=lambda name: Timeframe.parse(name).delta)
    (base,) = _timeframes((given,), "training_data.timeframes.base_timeframe")
    if base not in frames:
        where = "training_data.timeframes.base_timeframe"
        raise InputError(
            f"{base} is none of the timeframes", where=where, hint=f"they are {', '.join(frames)}"
        )
    return base


def _sources(entries: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Every `data_source` that `context_data` allows."""
    names: list[str] = []
    for number, entry in enumerate(entries):
        try:
            names += context_sources([entry])
        except InputError as error:
            raise InputError(error.what, where=f"context_data.{number}", hint=error.hint) from error
    return tuple(names)


def _indicator(name: str, entry: Mapping[str, Any], sources: Sequence[str]) -> IndicatorSpec:
    where = f"indicators.{name}"
    if "." in name:
        raise InputError("an id has no dot: it stands between an id and an output", where=where)
    given = dict(entry)
    kind = given.pop("type", None)
    if not isinstance(kind, str):
        raise InputError("has no type", where=where)
    source = given.pop("data_source", None)
    if source is not None and source not in sources:
        what = f"no context_data gives {source!r}"
        raise InputError(what, where=f"{where}.data_source", hint=nearest(str(source), sources))
    try:
        found = find_indicator(kind)
    except InputError as error:
        raise InputError(error.what, where=f"{where}.type", hint=error.hint) from error
    try:
        params = found.params.model_validate(given)
    except ValidationError as error:
        raise as_input_error(error, prefix=where, known=found.params.model_fields) from error
    return IndicatorSpec(name, found.name, params, found.outputs, source)


def _reference(text: str, indicators: Mapping[str, IndicatorSpec], where: str) -> tuple[str, str]:
    """The indicator and the output that `id` or `id.output` means; without one, the first."""
    name, _, output = text.partition(".")
    spec = indicators.get(name)
    if spec is None:
        raise InputError(f"no indicator {name!r}", where=where, hint=nearest(name, indicators))
    if not output:
        return name, spec.outputs[0]
    if output not in spec.outputs or spec.outputs == ("value",):
        known = () if spec.outputs == ("value",) else spec.outputs
        hint = nearest(output, known) if known else f"{name} has one output: write {name}"
        raise InputError(f"{spec.type} has no output {output!r}", where=where, hint=hint)
    return name, output


def _fuzzy_set(name: str, entry: Mapping[str, Any], indicators: Mapping[str, IndicatorSpec]) -> FuzzySetSpec:
    where = f"fuzzy_sets.{name}"
    reference = entry.get("indicator")
    if not isinstance(reference, str):
        raise InputError("names no indicator", where=where, hint="give indicator: ID or ID.OUTPUT")
    indicator, output = _reference(reference, indicators, f"{where}.indicator")
    memberships = []
    for term, given in entry.items():
        if term != "indicator":
            kind, parameters = _membership(given, f"{where}.{term}")
            try:
                memberships.append((str(term), build_membership(kind, parameters)))
            except (ValueError, OverflowError) as error:
                raise InputError(str(error), where=f"{where}.{term}") from error
    if not memberships:
        raise InputError("has no membership", where=where, hint="give a term, such as low: [0, 20, 40]")
    return FuzzySetSpec(name, indicator, output, tuple(memberships))


def _membership(given: object, where: str) -> tuple[str, Sequence[float]]:
    kind: object = "triangular"
    parameters = given
    if isinstance(given, dict):
        kind, parameters = given.get("type", "triangular"), given.get("parameters")
    if not isinstance(kind, str):
        raise InputError(f"the type must be a word, not {kind!r}", where=where)
    if not isinstance(parameters, list) or not all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in parameters
    ):
        raise InputError(f"parameters must be numbers, not {parameters!r}", where=where)
    return kind, parameters


def _features(
    inputs: Sequence[NnInput],
    frames: tuple[str, ...],
    base: str,
    indicators: Mapping[str, IndicatorSpec],
    fuzzy_sets: Mapping[str, FuzzySetSpec],
) -> Iterable[FeatureSpec]:
    seen: set[str] = set()
    for number, given in enumerate(inputs):
        where = f"nn_inputs.{number}"
        for spec in _features_of(given, where, frames, base, indicators, fuzzy_sets):
            if spec.name in seen:
                raise InputError(f"feature {spec.name} comes twice", where=where)
            seen.add(spec.name)
            yield spec


def _features_of(
    given: NnInput,
    where: str,
    frames: tuple[str, ...],
    base: str,
    indicators: Mapping[str, IndicatorSpec],
    fuzzy_sets: Mapping[str, FuzzySetSpec],
) -> Iterable[FeatureSpec]:
    chosen = frames if given.timeframes == "all" else _chosen(given.timeframes, frames, f"{where}.timeframes")
    if given.fuzzy_set is not None:
        fuzzy_set = fuzzy_sets.get(given.fuzzy_set)
        if fuzzy_set is None:
            what = f"no fuzzy set {given.fuzzy_set!r}"
            raise InputError(what, where=f"{where}.fuzzy_set", hint=nearest(given.fuzzy_set, fuzzy_sets))
        # A series from outside is known on the base timeframe's bars only.
        outside = indicators[fuzzy_set.indicator].data_source is not None
        for frame in (base,) if outside else chosen:
            for term, _ in fuzzy_set.memberships:
                yield FeatureSpec(f"{frame}_{fuzzy_set.id}_{term}", frame, "fuzzy", fuzzy_set.id, term)
        return
    reference = str(given.raw_indicator)
    indicator, output = _reference(reference, indicators, f"{where}.raw_indicator")
    for frame in (base,) if indicators[indicator].data_source is not None else chosen:
        yield FeatureSpec(f"{frame}_{reference}_raw", frame, "raw", indicator, output, given.normalization)


def _chosen(names: Sequence[str], frames: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The timeframes as the strategy spells them: `1H` is `1h`."""
    chosen = _timeframes(tuple(names), where)
    for name in chosen:
        if name not in frames:
            hint = f"they are {', '.join(frames)}"
            raise InputError(f"{name} is none of the timeframes", where=where, hint=hint)
    return chosen


def _loss(file: StrategyFile, classes: tuple[str, ...] | None) -> Any:
    loss = file.training.loss
    if loss is None:
        return "huber" if classes is None else "cross_entropy"
    if (loss == "huber") != (classes is None):
        kind = "numbers" if classes is None else "classes"
        hint = "use huber" if classes is None else "use cross_entropy or focal"
        raise InputError(f"{loss} does not fit labels that are {kind}", where="training.loss", hint=hint)
    return loss


def _ignored(section: BaseModel, prefix: str = "") -> Iterable[str]:
    """Paths of keys that nothing reads."""
    for name, value in section:
        path = f"{prefix}{name}"
        if isinstance(value, Section):
            yield from _ignored(value, f"{path}.")
        elif isinstance(value, list):
            for number, each in enumerate(value):
                if isinstance(each, Section):
                    yield from _ignored(each, f"{path}.{number}.")
        elif path == "model.training":
            yield from (f"{path}.{key}" for key in value if key not in TRAINING_KEYS)
        elif name in (section.model_extra or {}) and not (prefix == "training." and name in TRAINING_KEYS):
            yield path
