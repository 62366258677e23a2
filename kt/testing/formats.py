"""The check whether an export format keeps the same rules as kt's formats."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.export.formats.format import EXACT, Artifact, Details, FullFormat, in_batches
from kt.export.formats.of_recipe import of_recipe
from kt.recipe import Format
from kt.recipe.exports import check_export as check_declared
from kt.testing.rules import hold

_SAME = 1e-6
"""The largest accepted difference between two results for the same picture: sums may be added in another order."""


def check_format(
    format: Format | FullFormat,  # noqa: A002 - what it is
    model: Any,
    pixels: npt.NDArray[np.uint8],
    *,
    classes: Sequence[str] | None = None,
    threads: int = 1,
) -> None:
    """Make, open and gate a format with a small model. Raises AssertionError that names the broken rule.

    model: a Keras model on TensorFlow, from uint8 `[N, H, W, 3]` to scores `[N, C]`. pixels: `[N, H, W, 3]`, at least 2
    pictures, best some of each class; they also calibrate a format that needs it. classes: the names of the C classes;
    by default "class 0" and so on. threads: with 2 or more, this many threads call it at once, as in `kt serve`. Raises
    RecipeError for an object that can't be a format at all.
    """
    if not isinstance(format, FullFormat):
        check_declared(format)
    kind = format if isinstance(format, FullFormat) else of_recipe(format)
    reference = in_batches(lambda batch: model(batch, training=False), pixels, width=0)
    names = tuple(classes or (f"class {index}" for index in range(reference.shape[1])))
    with tempfile.TemporaryDirectory(prefix="kt-check-") as place:
        folder, empty = Path(place) / "artifacts", Path(place) / "empty"
        folder.mkdir()
        empty.mkdir()
        np.save(Path(place) / "pixels.npy", pixels)
        details = Details("checked", names, representative=Path(place) / "pixels.npy", calibration=len(pixels))
        path = kind.make(model, folder, details=details)
        _hold(path.resolve().is_relative_to(folder.resolve()), kind, f"make must write into its directory, not {path}")
        _hold(path.exists(), kind, f"make must write what it gives the path of; {path.name} is not there")
        _hold(kind.opens(path), kind, f"opens must know what make wrote, {path.name}")
        _hold(not kind.opens(empty), kind, "opens must be False for an empty folder")
        artifact = kind.open(path)
        carried = tuple(artifact.classes)
        _hold(carried in ((), names), kind, f"the classes of what open gives must be none or {names}, not {carried}")
        _check_scores(kind, artifact, pixels, reference=reference)
        again = kind.open(path).scores(pixels)
        _hold_same(again, artifact.scores(pixels), kind, "opened twice it must answer the same")
        if threads > 1:
            _check_threads(kind, artifact, pixels, threads=threads)


def _check_scores(kind: FullFormat, artifact: Artifact, pixels: Any, *, reference: Any) -> None:
    """Check shape, type and values of the scores, all pictures together and one by one, and the release gate."""
    from kt.export import gate
    from kt.kinds.pictures.kind import Pictures

    scores = artifact.scores(pixels)
    wanted = f"float32 {list(reference.shape)}"
    given = f"{scores.dtype} {list(scores.shape)}"
    _hold(given == wanted, kind, f"scores must be {wanted}, one row a picture, not {given}")
    _hold_same(artifact.scores(pixels), scores, kind, "asked twice it must answer the same")
    alone = np.concatenate([artifact.scores(picture[None]) for picture in pixels])
    _hold_same(alone, scores, kind, "a picture's scores must not hang on what is beside it", within=EXACT)
    none = artifact.scores(pixels[:0])
    _hold(len(none) == 0, kind, "no pictures must give no scores")
    labels = reference.argmax(axis=1)
    verdict = gate.judge_artifact(
        artifact, reference, labels=labels, pixels=pixels, classes=artifact.classes, exact=kind.exact, timed=False,
        nouns=Pictures,
    )  # fmt: skip
    reason = verdict if isinstance(verdict, str) else verdict.reason
    _hold(not reason, kind, f"the release gate must let it pass: {reason}")


def _check_threads(kind: FullFormat, artifact: Artifact, pixels: Any, *, threads: int) -> None:
    """Check that several threads at once get the same scores as one."""
    shares = [pixels[start::threads] for start in range(threads)] * 4
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(artifact.scores, shares))
    for share, answer in zip(shares, answers, strict=True):
        _hold_same(answer, artifact.scores(share), kind, f"asked from {threads} threads it must answer as from one")


def _hold(holds: bool, kind: FullFormat, rule: str) -> None:
    hold(holds, f"{kind.name}: {rule}")


def _hold_same(scores: Any, expected: Any, kind: FullFormat, rule: str, *, within: float = _SAME) -> None:
    _hold(np.allclose(scores, expected, rtol=0, atol=within, equal_nan=True), kind, rule)
