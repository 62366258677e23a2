"""How far a run's scores can be trusted: calibration, abstention and sets, as keys of `report.json`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.chance import losses, mean_and_interval
from kt.data.splits import Split, Splits
from kt.heads.classification.calibrate import at_temperature
from kt.heads.classification.conformal import LEVELS, SetRule, fewest_for, measured_sets, set_rule
from kt.heads.classification.measure import calibration_of, squared_distances
from kt.heads.classification.selective import risk_coverage
from kt.training import Calibrated

Scores = npt.NDArray[np.float32]


def trust(
    scores: Scores, validation: Scores | None, splits: Splits, calibrated: Calibrated, *, seed: int
) -> dict[str, Any]:  # fmt: skip
    """The keys of report.json on trust: `calibration`, `abstention` and `sets`.

    scores, validation: what the final model says of test and validation, `[N, C]`; None if the training step kept no
    scores of validation. Test is only measured on.
    """
    part = splits.test
    return {
        "calibration": {**calibrated.as_json(), "test": _gained(scores, part, calibrated.temperature)},
        "abstention": risk_coverage(scores, part.labels, groups=part.groups, seed=seed),
        "sets": _sets(scores, validation, splits, seed=seed),
    }


def _gained(scores: Scores, part: Split, temperature: float) -> dict[str, Any] | None:
    """What the temperature changed on test, paired by example; None if it is 1."""
    if temperature == 1:
        return None
    before = at_temperature(scores, 1 / temperature)
    both = {
        "log_loss": [losses(each, part.labels) for each in (before, scores)],
        "brier_score": [squared_distances(np.asarray(each, np.float64), part.labels) for each in (before, scores)],
    }
    gains = {name: mean_and_interval(old - new, part.groups) for name, (old, new) in both.items()}
    return {
        "before": {name: float(old.mean()) for name, (old, _) in both.items()},
        "after": {name: float(new.mean()) for name, (_, new) in both.items()},
        "gain": {name: float((old - new).mean()) for name, (old, new) in both.items()},
        "intervals": {name: None if gain is None else gain[1] for name, gain in gains.items()},
        "bins_before": calibration_of(before, part.labels),
    }


def _sets(scores: Scores, validation: Scores | None, splits: Splits, *, seed: int) -> list[dict[str, Any]]:
    """A row for each level: the rule by validation and what it gives on test, or why there is none."""
    if validation is None:
        return []
    part, test = splits.validation, splits.test
    rows = []
    for level in LEVELS:
        rule = set_rule(validation, part.labels, part.groups, level=level, seed=seed)
        measured = None if rule is None else measured_sets(rule, scores, test.labels, test.groups)
        rows.append(_row(level, rule, part.groups, measured, many=splits.kind.many))
    return rows


def _row(
    level: float, rule: SetRule | None, groups: Sequence[str], measured: dict[str, Any] | None, *, many: str
) -> dict[str, Any]:  # fmt: skip
    number = len(set(groups))
    reason = f"validation has {number:,} independent {many}, and {fewest_for(level):,} are needed"
    return {
        "level": level,
        "least": rule.least if rule else None,
        "groups": number,
        "between": [*rule.between] if rule else None,
        "reason": "" if rule else reason,
        "test": measured,
    }
