"""The verdicts for a reader: warnings, whether the last phase was worth it, and what was released."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kt.base import numbers
from kt.kinds.kind import Nouns
from kt.report.reported import ReportedRun
from kt.report.sections import alike, artifacts
from kt.report.sections.training import Gain, KeptWeights, TrainedPhase, kept_of, phases_of
from kt.report.templates import filled

WORTHWHILE = 0.01
"""The share by which a phase must lower the loss: a smaller difference does not matter, even if it is certain."""


@dataclass(frozen=True)
class LastPhase:
    """Whether the last phase was worth it.

    worth_it: None if that is unknown. kept: whether its weights were kept. headline: the verdict in words. gain: the
    figures behind it, or "". losses: of each phase, and which weights were kept.
    """

    worth_it: bool | None
    kept: bool
    headline: str
    gain: str
    losses: str


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on a run.

    chance: the balanced accuracy of a model that knows nothing, if the model is surely better; else None.
    few_pictures, warnings: a line each. last_phase: None with only one phase. released: the names of the artefacts that
    passed the gate. version, released_to: where they were released. refused: the others, each with its reason, or "".
    untaught: whether nothing was released because the model has learned nothing. unlike: how well test is told from
    train if they look otherwise, an AUC; None if they don't.
    """

    chance: float | None
    few_pictures: tuple[str, ...]
    warnings: tuple[str, ...]
    last_phase: LastPhase | None
    released: tuple[str, ...]
    version: int | None
    released_to: str
    refused: tuple[tuple[str, str], ...]
    untaught: bool
    unlike: float | None
    nouns: Nouns


def gather(run: ReportedRun) -> Verdicts | None:
    """The verdicts; None if there are none."""
    report, exported, compared = run.report, artifacts.gather(run), alike.gather(run)
    every = exported.artifacts if exported else ()
    learned = report["learned"]
    verdicts = Verdicts(
        chance=learned["chance"].share_or_none() if learned["verdict"].text() == "yes" else None,
        few_pictures=report["few_pictures"].texts(),
        warnings=report["warnings"].texts(),
        last_phase=last_phase(phases_of(run), kept_of(run), run.nouns),
        released=tuple(artifact.name for artifact in every if artifact.released),
        version=report["version"].count_or_none(),
        released_to=report["released_to"].text(),
        refused=tuple((artifact.name, artifact.reason) for artifact in every if not artifact.released),
        untaught=learned["verdict"].text() == "no" and not learned["forced"].flag(),
        unlike=compared.auc if compared and compared.differ else None,
        nouns=run.nouns,
    )
    return verdicts if every or verdicts.few_pictures or verdicts.warnings or verdicts.last_phase else None


def last_phase(phases: Sequence[TrainedPhase], kept: KeptWeights | None, nouns: Nouns) -> LastPhase | None:
    """Whether the last phase was worth it; None with only one phase, or if it is unknown which was kept."""
    ran = [(phase, loss) for phase in phases if (loss := phase.best_val_loss) is not None]
    if len(ran) < 2 or kept is None or kept.phase not in [phase.name for phase, _ in ran]:
        return None
    last = ran[-1][0]
    of_each = ", ".join(f"{phase.name} {loss:.4f}" for phase, loss in ran)
    losses = (
        f"Best validation loss: {of_each}. The weights of {kept.phase}, epoch {numbers.number(kept.epoch)}, were kept."
    )
    if kept.phase != last.name:
        return LastPhase(False, False, f"{last.name} did not help", "", losses)
    if last.adapted_to:
        return LastPhase(
            None, True, f"{last.name} is fitted to {last.adapted_to}",
            "Validation is of the source, so its losses do not judge the weights that were kept.", losses,
        )  # fmt: skip
    if last.gain is None:
        return LastPhase(None, True, f"{last.name} was kept", "", f"{losses} Nothing tells whether it is chance.")
    low, high = last.gain.interval
    matters = abs(last.gain.log_loss) >= WORTHWHILE * last.gain.before
    worth_it = True if low > 0 and matters else False if high < 0 and matters else None
    words = {True: "helped", False: "did not help"}
    headline = f"{last.name} {words[worth_it]}" if worth_it is not None else f"{last.name}: no difference that shows"
    return LastPhase(worth_it, True, headline, _in_words(last.gain, last.epochs_run or 1, nouns), losses)


def _in_words(gain: Gain, epochs: int, nouns: Nouns) -> str:
    low, high = gain.interval
    pictures = f"{numbers.count(gain.images)} {nouns.many}"
    if gain.things != gain.images:
        pictures += f" of {numbers.count(gain.things)} things"
    return (
        f"Log loss on validation against before: {numbers.change(-gain.log_loss)} ({numbers.change(-high)} to "
        f"{numbers.change(-low)}), {nouns.one} by {nouns.one} on {pictures}, with room for the best of {epochs} "
        f"epoch{'s' if epochs != 1 else ''}."
    )


def html(data: Verdicts) -> Markup:
    """A coloured line for each."""
    return filled("sections/verdicts", data)
