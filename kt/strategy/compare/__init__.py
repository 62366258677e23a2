"""Trains several recipes on the same pictures, seed by seed, and says which is better and by how much it is certain.

`kt.strategy.strategies` gives the usual ones. What is best is chosen on validation; each trained model answers the test
split once, and only to be told of.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kt import report
from kt.console import say, warn
from kt.errors import DataError, KtError, TrainingError
from kt.recipe import Recipe
from kt.run import Origin
from kt.strategy.compare.checking import buildable, check, check_test
from kt.strategy.compare.comparison import BASELINE, Comparison
from kt.strategy.compare.results import write
from kt.strategy.compare.training import forget, share_of, train_once
from kt.train import seed_everything

__all__ = ["SHARES", "compare"]

SHARES = (0.05, 0.1, 0.25, 0.5)
"""Of the training pictures, for the learning curves, beside all of them."""


def compare(
    named: Mapping[str, Recipe],
    out: Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    titles: Mapping[str, str] | None = None,
    origin: Origin | None = None,
    shares: Sequence[float] = SHARES,
) -> dict[str, Any]:
    """Train each recipe with each seed, and return what `out/compare.json` holds; `out/compare.html` shows it.

    named: recipes by name, whose data, read once from the first, must be the same; the one named "scratch" is what the
    others are held against. titles: names for a person. shares: of the training pictures, for the learning curves of
    scratch and of the best other; none for no curves.

    Both files are written anew after each model, so that an interruption loses one model at most. A strategy whose
    training fails is told and left out. Raises RecipeError or DataError, before anything trains, for what can't be
    compared.
    """
    check(named, seeds)
    origin = origin or Origin(name=out.parent.name)
    first = next(iter(named.values()))
    seed_everything(first.seed)
    splits = first.data()
    say(report.data_line(splits))
    check_test(splits)
    named, notes = buildable(named, splits)
    out.mkdir(parents=True, exist_ok=True)
    done = Comparison(named, titles or {}, splits, seeds, origin, out, datetime.now(UTC))
    done.notes += [*splits.notes, *notes]
    for turn, seed in enumerate(seeds):
        for name in named:
            if name not in done.failed:
                say(f"{done.title(name)}, seed {seed} ({turn + 1} of {len(seeds)})")
                _train_into(done, name, seed=seed, share=1.0)
    best = done.best()
    if best is not None and BASELINE in done.whole():
        _curves(done, [BASELINE, best], shares=shares)
    return write(done, finished=True)


def _curves(done: Comparison, names: Sequence[str], *, shares: Sequence[float]) -> None:
    """Train both with each share of the pictures and each seed, skipping shares that come to the same pictures."""
    sizes: dict[int, float] = {}
    for share in sorted(share for share in shares if share < 1):
        pictures = len(share_of(done.splits, share, seed=0))
        if pictures < len(done.splits.train):
            sizes[pictures] = share
    for seed in done.seeds:
        for pictures, share in sizes.items():
            for name in names:
                say(f"{done.title(name)} with {pictures} pictures ({share:.0%}), seed {seed}")
                _train_into(done, name, seed=seed, share=share)


def _train_into(done: Comparison, name: str, *, seed: int, share: float) -> None:
    """Train a strategy and add what came of it; where it fails, say so and go on with the others."""
    try:
        done.trained.append(train_once(done.named[name], done.splits, strategy=name, seed=seed, share=share))
    except (TrainingError, DataError) as error:
        _note_failure(done, name, error, seed=seed, share=share)
    except KeyboardInterrupt:
        if done.trained:
            write(done, finished=False)
            say(f"what there is so far: {done.out / 'compare.html'}")
        raise
    finally:
        forget()
    if done.trained:
        write(done, finished=False)


def _note_failure(done: Comparison, name: str, error: KtError, *, seed: int, share: float) -> None:
    where = f"{done.title(name)}, seed {seed}" + (f", {share:.0%} of the pictures" if share < 1 else "")
    warn(f"{where}: {error}")
    done.notes.append(f"{where}, failed: {error}")
    if share == 1:
        done.failed[name] = str(error)
