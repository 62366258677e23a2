"""Two runs side by side: their figures, what differs between them, and paired differences on the same test pictures.

Everything comes from the runs' folders: `report.json`, the scores that a run keeps of its test pictures, and
`splits.csv`, which says which pictures these are. Neither pictures nor models are needed, and no heavy library.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kt.base import few
from kt.base.console import shown
from kt.base.metrics import CONFIDENCE, HEADLINES
from kt.base.run_folder import SPLITS
from kt.errors import ReleaseError
from kt.report.reported import ReportedRun
from kt.runs.answers import KeptAnswers, answers_of
from kt.strategy.paired import Estimate, Resamples

FORMAT = 1
"""Increased when a key changes its meaning or is removed, not for a new key."""

ENOUGH = few.FEW
"""With fewer common test pictures than this, no difference is given."""

Basis = Literal["content", "names"]


@dataclass(frozen=True)
class _Tested:
    """A test picture of a run. content: SHA-256 of its file; "" if it is not known."""

    label: str
    group: str
    name: str
    content: str


@dataclass(frozen=True)
class _Run:
    """A run: its folder and its report; its test pictures with the model's scores, in the same order, or why not."""

    folder: Path
    reported: ReportedRun
    pictures: tuple[_Tested, ...]
    answers: KeptAnswers | None
    why: str

    @property
    def classes(self) -> tuple[str, ...]:
        return self.reported.report["data"]["classes"].texts()


@dataclass(frozen=True)
class _Common:
    """The test pictures that both runs measured.

    basis: how they were recognised; None if they can't be, and `why` says why. first, second: their places among each
    run's test pictures, one below the other. relabelled: how many are common but of another class in each run.
    """

    basis: Basis | None
    why: str
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    relabelled: int = 0


def side_by_side(first: Path, second: Path) -> dict[str, Any]:
    """Two runs side by side, as docs/report.md explains each key; differences are those of the second minus the first.

    Raises ReleaseError for a folder that holds no report, or a damaged one.
    """
    runs = (_read(first), _read(second))
    common = _common(*runs)
    paired = _paired(*runs, common) if common.basis else None
    return {
        "format": FORMAT,
        "runs": [_described(run) for run in runs],
        "figures": list(_figures(*runs)),
        "common": {
            "basis": common.basis,
            "why": common.why,
            "images": len(common.first),
            "only_first": len(runs[0].pictures) - len(common.first) - common.relabelled if common.basis else None,
            "only_second": len(runs[1].pictures) - len(common.second) - common.relabelled if common.basis else None,
            "relabelled": common.relabelled,
        },
        "paired": paired,
        "settings": list(_settings(*runs)),
        "only_first_classes": [label for label in runs[0].classes if label not in runs[1].classes],
        "only_second_classes": [label for label in runs[1].classes if label not in runs[0].classes],
    }


# ------------------------------------------------------------------------------------------------------ reading a run


def _read(folder: Path) -> _Run:
    if not folder.is_dir():
        raise ReleaseError(f"There is no {shown(folder)}; kt runs shows which runs there are.")
    reported = ReportedRun.read(folder)
    try:
        answers, pictures = answers_of(folder), _tested(folder)
    except ReleaseError as error:
        return _Run(folder, reported, (), None, str(error))
    labels = [answers.classes[label] for label in answers.labels]
    if labels != [picture.label for picture in pictures]:
        return _Run(
            folder, reported, (), None, f"{shown(folder / SPLITS)} does not list the test examples that were scored."
        )
    return _Run(folder, reported, pictures, answers, "")


def _tested(folder: Path) -> tuple[_Tested, ...]:
    """The test pictures in the order of the scores. Raises ReleaseError for a file that can't be read."""
    try:
        with (folder / SPLITS).open(newline="", encoding="utf-8") as file:
            return tuple(
                _Tested(row["label"], row["group"], row["name"], row.get("content") or "")
                for row in csv.DictReader(file)
                if row["split"] == "test"
            )
    except (OSError, ValueError, KeyError, csv.Error):
        raise ReleaseError(f"{shown(folder / SPLITS)} can't be read, so it is not known what was tested.") from None


def _described(run: _Run) -> dict[str, Any]:
    report = run.reported.report
    return {
        "run": shown(run.folder),
        "recipe": report["recipe"]["name"].text(),
        "description": report["recipe"]["description"].text(),
        "started": report["started"].text(),
        "seconds": report["seconds"].number_or_none(),
        "kind": report["data"]["kind"].text(),
        "rendered": report["data"]["rendered"].flag(),
        "images": report["test"]["images"].count_or_none(),
        "groups": report["test"]["groups"].count_or_none(),
        "version": report["version"].count_or_none(),
    }


def _figures(first: _Run, second: _Run) -> Iterator[dict[str, Any]]:
    """The headlines of both, each on its own test pictures."""
    for key in HEADLINES:
        row: dict[str, Any] = {"name": key}
        for place, run in (("first", first), ("second", second)):
            test = run.reported.report["test"]
            row[place] = test[key].number_or_none()
            row[f"{place}_interval"] = test["intervals"][key].interval_or_none()
        if row["first"] is not None or row["second"] is not None:
            yield row


# -------------------------------------------------------------------------------------------------- the same pictures


def _common(first: _Run, second: _Run) -> _Common:
    """The test pictures of both runs, by content; by name if both read the same folders."""
    nothing = np.empty(0, np.int64)
    if first.answers is None or second.answers is None:
        return _Common(None, first.why or second.why, nothing, nothing)
    reports = first.reported.report, second.reported.report
    digests = {report["data"]["digest"].text() for report in reports}
    if len(digests) == 1 and "" not in digests and first.pictures == second.pictures:
        every = np.arange(len(first.pictures))
        return _Common("content", "", every, every)
    both = [*first.pictures, *second.pictures]
    if all(picture.content for picture in both):
        return _matched(first, second, "content")
    places = [{name: place.text() for name, place in report["recipe"]["places"].items()} for report in reports]
    if places[0] and places[0] == places[1]:
        return _matched(first, second, "names")
    return _Common(
        None, "The runs do not say which test examples are the same: they read different places, and at least one run "
        "did not record the content of its files.", nothing, nothing,
    )  # fmt: skip


def _matched(first: _Run, second: _Run, basis: Basis) -> _Common:
    """The places of the pictures that have the same content, or the same name, in both; and the same class."""

    def key(picture: _Tested) -> str:
        return picture.content if basis == "content" else picture.name

    others: dict[str, list[int]] = {}
    for place, picture in enumerate(second.pictures):
        others.setdefault(key(picture), []).append(place)
    pairs: list[tuple[int, int]] = []
    relabelled = 0
    for place, picture in enumerate(first.pictures):
        candidates = others.get(key(picture), [])
        same = next((other for other in candidates if second.pictures[other].label == picture.label), None)
        if same is not None:
            candidates.remove(same)
            pairs.append((place, same))
        elif candidates:
            candidates.pop()
            relabelled += 1
    chosen = np.array(pairs, np.int64).reshape(-1, 2)
    if len(chosen) < ENOUGH:
        many = first.reported.nouns.many
        found = f"no test {many} in common" if not len(chosen) else f"only {len(chosen)} test {many} in common"
        why = f"The runs have {found}; a difference takes at least {ENOUGH}."
        return _Common(None, why, np.empty(0, np.int64), np.empty(0, np.int64))
    return _Common(basis, "", chosen[:, 0], chosen[:, 1], relabelled)


# ------------------------------------------------------------------------------------------------- paired differences


def _paired(first: _Run, second: _Run, common: _Common) -> dict[str, Any]:
    """The differences on the common pictures, each with its interval, by groups; and the classes one by one."""
    assert first.answers is not None
    assert second.answers is not None
    labels = [first.pictures[place].label for place in common.first]
    names = sorted(set(labels))
    numbers = np.array([names.index(label) for label in labels], np.int64)
    groups = _joined(
        [first.pictures[place].group for place in common.first],
        [second.pictures[place].group for place in common.second],
    )
    draws = Resamples(numbers, groups, seeds=1)
    right = [
        _right(run.answers, chosen) for run, chosen in ((first, common.first), (second, common.second)) if run.answers
    ]
    figures = {"balanced_accuracy": [draws.balanced_accuracy(each[:, None]) for each in right],
               "accuracy": [draws.mean(each.astype(np.float64)) for each in right]}  # fmt: skip
    if first.classes == second.classes:
        figures["log_loss"] = [
            draws.mean(_losses(first.answers, common.first)), draws.mean(_losses(second.answers, common.second))
        ]  # fmt: skip
    one, other = right
    things = [
        len({group for group, label in zip(groups, numbers, strict=True) if label == i}) for i in range(len(names))
    ]
    return {
        "images": len(labels),
        "groups": len(set(groups)),
        "confidence": CONFIDENCE,
        "caution": few.caution_on_test(
            things, names, grouped=len(set(groups)) < len(labels), many=first.reported.nouns.many
        ),
        "differences": [_difference(name, *estimates) for name, estimates in figures.items()],
        "both_right": int((one & other).sum()),
        "only_first_right": int((one & ~other).sum()),
        "only_second_right": int((~one & other).sum()),
        "both_wrong": int((~one & ~other).sum()),
        "classes": _classes(names, numbers, groups, one, other),
    }


def _right(answers: KeptAnswers, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    return np.asarray(answers.scores[places].argmax(axis=1) == answers.labels[places])


def _losses(answers: KeptAnswers, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The negative log of the true class's score of each picture, as in the evaluation."""
    scores = np.clip(answers.scores[places].astype(np.float64), np.finfo(answers.scores.dtype).eps, None)
    scores /= scores.sum(axis=1, keepdims=True)
    return np.asarray(-np.log(scores[np.arange(len(places)), answers.labels[places]]))


def _difference(name: str, first: Estimate, second: Estimate) -> dict[str, Any]:
    apart = second.minus(first)
    verdict = {"positive": "second", "negative": "first", "none": "none"}[apart.verdict()]
    if not HEADLINES[name].higher_is_better:
        verdict = {"second": "first", "first": "second", "none": "none"}[verdict]
    return {
        "name": name, "first": first.value, "second": second.value, "difference": apart.value,
        "interval": apart.interval, "p_value": apart.p_value(), "better": verdict,
    }  # fmt: skip


def _joined(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Groups such that pictures of one group in either run are in one group: the runs may have grouped otherwise."""
    above: dict[tuple[int, str], tuple[int, str]] = {}

    def top(node: tuple[int, str]) -> tuple[int, str]:
        while (parent := above.setdefault(node, node)) != node:
            above[node] = above[parent]
            node = above[node]
        return node

    for one, other in zip(first, second, strict=True):
        above[top((0, one))] = top((1, other))
    return ["{} {}".format(*top((0, one))) for one in first]


def _classes(
    names: Sequence[str],
    numbers: npt.NDArray[np.int64],
    groups: Sequence[str],
    first: npt.NDArray[np.bool_],
    second: npt.NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """Each class's recall in both runs, and whether the difference is more than chance.

    A sign test over groups: of those that one model does better on, how many are one model's. Holm's method corrects
    the p values for the number of classes (A simple sequentially rejective multiple test procedure, 1979).
    """
    from scipy import stats

    gained = second.astype(np.int64) - first.astype(np.int64)
    of_group = np.asarray(groups)
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        inside = numbers == i
        _, group = np.unique(of_group[inside], return_inverse=True)
        net = np.bincount(group, weights=gained[inside])
        up, down = int((net > 0).sum()), int((net < 0).sum())
        rows.append(
            {
                "label": name, "images": int(inside.sum()),
                "first": float(first[inside].mean()), "second": float(second[inside].mean()),
                "difference": float(gained[inside].mean()),
                "only_first_right": int((gained[inside] < 0).sum()),
                "only_second_right": int((gained[inside] > 0).sum()),
                "p_value": float(stats.binomtest(up, up + down).pvalue) if up + down else 1.0,
            }
        )  # fmt: skip
    _correct(rows)
    return rows


def _correct(rows: Sequence[dict[str, Any]]) -> None:
    """Holm's adjusted p value of each row, and which run is better by it."""
    lowest = 0.0
    for place, row in enumerate(sorted(rows, key=lambda row: row["p_value"])):
        lowest = max(lowest, min(1.0, (len(rows) - place) * row["p_value"]))
        row["adjusted_p_value"] = lowest
        sure = lowest < 1 - CONFIDENCE
        row["better"] = "none" if not sure else "second" if row["difference"] > 0 else "first"


# ------------------------------------------------------------------------------------------------------ what differs


def _settings(first: _Run, second: _Run) -> Iterator[dict[str, Any]]:
    """Each setting, version and fact of the two runs that is not the same; null where a run has none."""
    one, other = (dict(_facts(run)) for run in (first, second))
    for name in [*one, *(name for name in other if name not in one)]:
        if one.get(name) != other.get(name):
            yield {"name": name, "first": one.get(name), "second": other.get(name)}


def _facts(run: _Run) -> Iterator[tuple[str, Any]]:
    report = run.reported.report
    yield "recipe", report["recipe"]["name"].value
    yield from _flat(report["recipe"]["resolved"].value)
    for key in ("seed", "backend", "mixed_precision"):
        yield key, report[key].value
    yield "weights", report["weights"]["name"].value
    yield "weights, SHA-256", report["weights"]["sha256"].value
    for key in ("origin", "digest", "image_size", "value_range"):
        yield f"data: {key.replace('_', ' ')}", report["data"][key].value
    for split, counts in report["data"]["counts"].items():
        yield f"data: {split}", sum(number.count() for _, number in counts.items())
    yield "kt", report["kt"].value
    for package, version in report["versions"].items():
        yield f"version of {package}", version.value


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The settings by their paths, `phases.fine_tune.lr`; an item of a list by its own name, or by its place."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for place, item in enumerate(value, 1):
            own = item.get("name") if isinstance(item, Mapping) else None
            yield from _flat(item, f"{name}.{own or place}")
    else:
        yield name, value
