"""The content of `adapt.json` and of the page, from the trials so far."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from kt.adaptation import VALIDATORS
from kt.adaptation.validators import NONE
from kt.base.files import replace_json, replace_text
from kt.base.metrics import CONFIDENCE
from kt.base.run_folder import ADAPTATION, ADAPTATION_PAGE
from kt.recipe import describe
from kt.report import plain
from kt.report.adaptation import adaptation_page
from kt.strategy.adapt.alike import ALIKE, OF_SHARES, difference
from kt.strategy.adapt.candidates import WayToAdapt
from kt.strategy.adapt.ceiling import target_trained
from kt.strategy.adapt.choice import averaged, chosen_by
from kt.strategy.adapt.comparison import DomainComparison, right
from kt.strategy.adapt.source import SHARE
from kt.strategy.adapt.trials import AdaptedTrial
from kt.strategy.heading import heading
from kt.strategy.paired import Estimate, Resamples

FORMAT = 1
"""Increased when a key of `adapt.json` changes its meaning or is removed, not for a new key."""

Verdict = Literal["positive", "none", "negative"]


def write_adaptation(done: DomainComparison, *, finished: bool) -> dict[str, Any]:
    """Write `adapt.json` and `adapt.html` anew from what is done, and return the content of the first."""
    results: dict[str, Any] = plain(adaptation_results(done, finished=finished))
    replace_json(done.out / ADAPTATION, results)
    replace_text(done.out / ADAPTATION_PAGE, adaptation_page(results))
    return results


def adaptation_results(done: DomainComparison, *, finished: bool) -> dict[str, Any]:
    """The content of `adapt.json`."""
    whole = done.whole()
    differ = _difference(done, whole) if finished else None
    chosen = _chosen(done, whole, differ) if finished else None
    measured = _measured(done, whole) if done.labelled and whole else {}
    methods = [_row(done, candidate, whole, measured, chosen=chosen) for candidate in done.named]
    return {
        "format": FORMAT,
        **heading(done.origin, done.started, finished=finished, splits=done.splits),
        "seeds": [trial.seed for trial in next(iter(whole.values()), [])],
        "share": SHARE,
        "target": {"examples": len(done.splits.streams[done.stream]), "labelled": done.labelled},
        "difference": differ,
        "validator": done.validator,
        "chosen": chosen,
        "verdict": _verdict(methods, chosen) if measured and chosen else None,
        "methods": methods,
        "validators": [_validator(name, whole, measured) for name in VALIDATORS],
        "target_trained": _told(measured["target_trained"]) if "target_trained" in measured else None,
        "source_shares": _shares(done),
        "map": _map(done, chosen),
        "notes": [*done.notes, *_cautions(done, whole, chosen)],
    }


# ------------------------------------------------------------------------------------------ with labels of the target


def _measured(done: DomainComparison, whole: Mapping[str, Sequence[AdaptedTrial]]) -> dict[str, Estimate]:
    """The balanced accuracy on the target's test split of each candidate, and of a classifier of the target."""
    test, seeds = done.splits.test, len(whole[NONE])
    draws = Resamples(test.labels, test.groups, seeds=seeds)
    measured = {name: draws.balanced_accuracy(right(trials, test.labels)) for name, trials in whole.items()}
    features = {trial.seed: done.sources[trial.seed].features.test for trial in whole[NONE]}
    balanced = done.recipe.class_weight == "balanced"
    best = target_trained(features, test.labels, test.groups, balanced=balanced)
    return measured if best is None else {**measured, "target_trained": draws.balanced_accuracy(best)}


def _told(estimate: Estimate) -> dict[str, Any]:
    return {"target_balanced_accuracy": estimate.value, "interval": estimate.interval}


def _against_none(measured: Mapping[str, Estimate], name: str) -> dict[str, Any] | None:
    if name == NONE or name not in measured:
        return None
    gain = measured[name].minus(measured[NONE])
    return {
        "balanced_accuracy": gain.value,
        "interval": gain.interval,
        "p_value": gain.p_value(),
        "verdict": gain.verdict(),
    }


def _verdict(methods: Sequence[Mapping[str, Any]], chosen: str) -> Verdict:
    """Whether adapting helps here: the verdict on the chosen method.

    If "none" was chosen: negative if a method is worse and none is better than not adapting, by more than chance, with
    the level divided by the number of methods (Bonferroni), since many are looked at; else none.
    """
    tried = {row["name"]: row["against_none"] for row in methods if row["against_none"]}
    if chosen != NONE:
        verdict: Verdict = tried[chosen]["verdict"]
        return verdict
    sure = {row["verdict"] for row in tried.values() if row["p_value"] < (1 - CONFIDENCE) / len(tried)}
    return "negative" if "negative" in sure and "positive" not in sure else "none"


def _chosen(
    done: DomainComparison, whole: Mapping[str, Sequence[AdaptedTrial]], differ: str | None
) -> str | None:  # fmt: skip
    """None where the domains are alike or differ in class shares alone; else by the validator."""
    return NONE if differ in (ALIKE, OF_SHARES) else averaged(chosen_by(done.validator, whole), whole)


def _difference(done: DomainComparison, whole: Mapping[str, Sequence[AdaptedTrial]]) -> str | None:
    """How the domains differ, by the first seed's model; None if nothing is fitted."""
    if NONE not in whole:
        return None
    seed = whole[NONE][0].seed
    balanced = done.recipe.class_weight == "balanced"
    return difference(done.sources[seed], classes=len(done.splits.classes), balanced=balanced, seed=seed)


# ---------------------------------------------------------------------------------------------------------------- rows


def _row(
    done: DomainComparison,
    candidate: WayToAdapt,
    whole: Mapping[str, Sequence[AdaptedTrial]],
    measured: Mapping[str, Estimate],
    *,
    chosen: str | None,
) -> dict[str, Any]:
    name, trials = candidate.name, done.of(candidate.name)
    against = _against_none(measured, name)
    return {
        "name": name,
        "title": candidate.title,
        "phases": describe(candidate.phases(done.recipe)),
        "chosen": name == chosen,
        "target_balanced_accuracy": measured[name].value if name in measured else None,
        "interval": measured[name].interval if name in measured else None,
        "against_none": against,
        "verdict": against["verdict"] if against else None,
        "validators": {validator: _mean(whole.get(name, []), validator) for validator in VALIDATORS},
        "answered_shares": np.mean([trial.shares for trial in trials], axis=0).tolist() if trials else None,
        "distance": next((trial.distances for trial in trials if trial.distances), None),
        "seconds": float(np.mean([trial.seconds for trial in trials])) if trials else None,
        "error": done.failed.get(name),
        "runs": [
            {
                "seed": trial.seed,
                "validators": trial.validators,
                "balanced_accuracy": _recall(done, trial) if done.labelled else None,
                "seconds": trial.seconds,
            }
            for trial in trials
        ],
    }


def _recall(done: DomainComparison, trial: AdaptedTrial) -> float:
    labels = done.splits.test.labels
    hits = right([trial], labels)[:, 0]
    return float(np.mean([hits[labels == label].mean() for label in np.unique(labels)]))


def _mean(trials: Sequence[AdaptedTrial], validator: str) -> float | None:
    scores = [trial.validators.get(validator) for trial in trials]
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if known and len(known) == len(scores) else None


def _validator(
    name: str, whole: Mapping[str, Sequence[AdaptedTrial]], measured: Mapping[str, Estimate]
) -> dict[str, Any]:
    """What a validator would have chosen, and with labels what that is worth."""
    chosen = chosen_by(name, whole)
    told: dict[str, Any] = {"name": name, "chosen": chosen}
    if chosen is not None and measured:
        best = max(estimate.value for method, estimate in measured.items() if method in whole)
        told |= {
            "target_balanced_accuracy": measured[chosen].value,
            "below_best": best - measured[chosen].value,
            "above_none": measured[chosen].value - measured[NONE].value,
        }
    return told


def _shares(done: DomainComparison) -> list[float]:
    labels = done.splits.train.labels
    counted: list[float] = (np.bincount(labels, minlength=len(done.splits.classes)) / len(labels)).tolist()
    return counted


def _map(done: DomainComparison, chosen: str | None) -> dict[str, Any]:
    """The places of both domains' examples before adaptation, and as the chosen method sees them."""
    maps = {}
    for when, name in (("before", NONE), ("after", chosen)):
        trial = next((trial for trial in done.of(name or "") if trial.spots), None)
        if trial is not None and not (when == "after" and name == NONE):
            maps[when] = {part: np.round(places, 3).tolist() for part, places in trial.spots.items()}
    return maps


def _cautions(done: DomainComparison, whole: Mapping[str, Sequence[AdaptedTrial]], chosen: str | None) -> list[str]:
    """What a person should know before believing the choice."""
    notes = []
    if not done.labelled:
        notes.append(
            "The target has no labels, so whether adapting helps is not known. A few dozen labels of each class would "
            "tell: give the target as class folders."
        )
    if chosen is None and whole and len(done.trials) == len(done.named) * len(done.seeds):
        notes.append(f"The validator {done.validator} can't judge every method here, so nothing was chosen.")
    return notes
