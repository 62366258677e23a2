"""The training: curves, what trained in each phase, and the run's notes."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.report import charts
from kt.report.entry import Entry, Interval
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class Gain:
    """How much lower a phase made the log loss on validation; docs/report.md explains each field."""

    log_loss: float
    interval: Interval
    before: float
    images: int
    things: int


@dataclass(frozen=True)
class ProbeChoices:
    """The choices of a linear probe. C: its inverse regularisation. features: how many it uses of each depth."""

    C: float | None
    features: tuple[int, ...]


@dataclass(frozen=True)
class TrainedPhase:
    """A phase. layer_rates: the peak rate of each block, if they differ. adapted_to: a stream without labels, or "".

    Facts that an earlier kt lacks are None.
    """

    name: str
    epochs: int | None
    epochs_run: int | None
    lr: float | None
    layer_rates: tuple[float, ...]
    probe: ProbeChoices | None
    trainable_parameters: int | None
    total_parameters: int | None
    trainable_layers: int
    first_trainable: str
    seconds: float | None
    best_epoch: int | None
    best_val_loss: float | None
    gain: Gain | None
    adapted_to: str
    history: charts.History

    @property
    def rates(self) -> tuple[str, str] | None:
        """The lowest and the highest rate; None unless rates differ by depth."""
        if len(set(self.layer_rates)) < 2:
            return None
        return f"{min(self.layer_rates):.2g}", f"{max(self.layer_rates):.2g}"


@dataclass(frozen=True)
class KeptWeights:
    """The phase and the epoch, from 1, of the kept weights."""

    phase: str
    epoch: int | None


@dataclass(frozen=True)
class TrainingSection:
    """The phases in order. kept: which weights were kept, if known. notes: those that no section above shows."""

    phases: tuple[TrainedPhase, ...]
    kept: KeptWeights | None
    notes: tuple[str, ...]


def gather(run: ReportedRun) -> TrainingSection | None:
    """The training; None if there was none."""
    report, phases = run.report, phases_of(run)
    if not phases:
        return None
    above = {*report["few_pictures"].texts(), *report["warnings"].texts()}
    return TrainingSection(phases, kept_of(run), tuple(note for note in report["notes"].texts() if note not in above))


def phases_of(run: ReportedRun) -> tuple[TrainedPhase, ...]:
    """The phases of the report, in order."""
    return tuple(_phase(entry) for entry in run.report["phases"])


def kept_of(run: ReportedRun) -> KeptWeights | None:
    """Which weights were kept; None if the report lacks it."""
    best = run.report["best"]
    return KeptWeights(best["phase"].name(), best["epoch"].count_or_none()) if best else None


def _phase(entry: Entry) -> TrainedPhase:
    layers, gain, probe = entry["trainable_layers"], entry["gain"], entry["probe"]
    return TrainedPhase(
        name=entry["name"].name(),
        epochs=entry["epochs"].count_or_none(),
        epochs_run=entry["epochs_run"].count_or_none(),
        lr=entry["lr"].number_or_none(),
        layer_rates=tuple(rate["lr"].number() for rate in entry["layer_rates"]),
        probe=_probe(probe) if probe else None,
        trainable_parameters=entry["trainable_parameters"].count_or_none(),
        total_parameters=entry["total_parameters"].count_or_none(),
        # The first reports had the names of the layers.
        trainable_layers=len(layers.texts()) if isinstance(layers.value, list) else layers.count_or_none() or 0,
        first_trainable=entry["first_trainable"].text(),
        seconds=entry["seconds"].number_or_none(),
        best_epoch=entry["best_epoch"].count_or_none(),
        best_val_loss=entry["best_val_loss"].number_or_none(),
        gain=_gain(gain) if gain else None,
        adapted_to=entry["adapted_to"].text(),
        history={key: tuple(value.number_or_none() for value in values) for key, values in entry["history"].items()},
    )


def _gain(entry: Entry) -> Gain:
    return Gain(
        log_loss=entry["log_loss"].number(),
        interval=entry["interval"].interval(),
        before=entry["before"].number(),
        images=entry["images"].count(),
        things=entry["things"].count(),
    )


def _probe(entry: Entry) -> ProbeChoices:
    return ProbeChoices(entry["C"].number_or_none(), tuple(number.count() for _, number in entry["features"].items()))


def html(data: TrainingSection) -> Markup:
    """Curves beside each other, then a row a phase."""
    histories = [(phase.name, phase.history) for phase in data.phases]
    kept = (data.kept.phase, data.kept.epoch) if data.kept and data.kept.epoch is not None else None
    curves = [charts.curves_chart(histories, metric, kept=kept) for metric in ("loss", "accuracy")]
    return filled("sections/training", data, charts=curves)
