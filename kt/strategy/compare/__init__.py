"""Trains several recipes on the same pictures, seed by seed, and says which is better and by how much it is certain.

`kt.strategy.strategies` gives the usual ones. What is best is chosen on validation; each trained model answers the test
split once, and only to be told of.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kt import report
from kt.console import say, warn
from kt.errors import DataError, TrainingError
from kt.recipe import Recipe
from kt.report.numbers import duration
from kt.run import Origin
from kt.strategy.compare.checking import buildable, check, check_test
from kt.strategy.compare.comparison import BASELINE, Comparison
from kt.strategy.compare.plan import BUDGET
from kt.strategy.compare.results import write
from kt.strategy.compare.schedule import SPENT, Schedule, scheduled, with_epochs
from kt.strategy.compare.training import OutOfTime, cut_down, forget, share_of, train_once
from kt.train import seed_everything

__all__ = ["BUDGET", "SHARES", "compare"]

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
    budget: float | None = BUDGET,
) -> dict[str, Any]:
    """Train each recipe with each seed, and return what `out/compare.json` holds; `out/compare.html` shows it.

    named: recipes by name, whose data, read once from the first, must be the same; the one named "scratch" is what the
    others are held against. titles: names for a person. shares: of the training pictures, for the learning curves of
    scratch and of the best other; none for no curves. budget: seconds that it may take, from reading on; None for no
    limit. A few steps of each are timed first, it is said what will be trained and how long that takes, and what does
    not fit is cut in the order of `kt.strategy.compare.plan.make`, which is said too.

    Both files are written anew after each model, so that an interruption loses one model at most. A strategy whose
    training fails is told and left out. Raises RecipeError or DataError, before anything trains, for what can't be
    compared.
    """
    started = time.perf_counter()
    check(named, seeds)
    origin = origin or Origin(name=out.parent.name)
    began = datetime.now(UTC)
    first = next(iter(named.values()))
    seed_everything(first.seed)
    splits = first.data()
    say(report.data_line(splits))
    check_test(splits)
    named, notes = buildable(named, splits)
    work = scheduled(named, splits, titles or {}, seeds=len(seeds), shares=shares, budget=budget, started=started)
    out.mkdir(parents=True, exist_ok=True)
    named = {name: with_epochs(named[name], name, work.plan) for name in work.plan.names}
    sizes = work.plan.sizes
    splits = cut_down(splits, train=sizes.train, validation=sizes.validation, test=sizes.test)
    done = Comparison(named, titles or {}, splits, seeds, origin, out, began, plan=work.as_json())
    done.notes += [*splits.notes, *notes, *work.notes()]
    for turn, seed in enumerate(seeds[: work.plan.seeds]):
        if turn > 1 and not work.fits(work.round(done.failed)):
            done.notes.append(f"{turn} seeds of {work.plan.seeds} that were planned: {SPENT}")
            break
        for name in named:
            if name not in done.failed and work.allows(done, name, turn=turn):
                say(f"{done.title(name)}, seed {seed} ({turn + 1} of {work.plan.seeds})")
                _train_into(done, name, seed=seed, share=1.0, work=work)
                say(f"about {duration(work.left_to_do(done.failed))} of work left")
    best = done.best()
    if best is not None and BASELINE in done.whole():
        _curves(done, [BASELINE, best], work=work)
    return write(done, finished=True)


def _curves(done: Comparison, names: Sequence[str], *, work: Schedule) -> None:
    """Train both with each share of the pictures and each seed, skipping shares that come to the same pictures."""
    sizes: dict[int, float] = {}
    chosen = work.curve(names)
    if len(chosen) < len(work.plan.shares):
        done.notes.append(f"learning curves have {len(chosen)} of {len(work.plan.shares)} points planned: {SPENT}")
    for share in chosen:
        pictures = len(share_of(done.splits, share, seed=0))
        if pictures < len(done.splits.train):
            sizes[pictures] = share
    for pictures, share in sizes.items():
        for seed in done.shared_seeds():
            for name in names:
                if work.left <= 0:
                    return
                say(f"{done.title(name)} with {pictures} pictures ({share:.0%}), seed {seed}")
                _train_into(done, name, seed=seed, share=share, work=work)


def _train_into(done: Comparison, name: str, *, seed: int, share: float, work: Schedule) -> None:
    """Train a strategy and add what came of it; where it fails, say so and go on with the others."""
    began = time.perf_counter()
    try:
        one = train_once(done.named[name], done.splits, strategy=name, seed=seed, share=share, until=work.until)
        done.trained.append(one)
        work.took(name, time.perf_counter() - began, share=share)
    except (TrainingError, DataError) as error:
        _note_failure(done, name, f"failed: {error}", seed=seed, share=share)
        if share == 1:
            done.failed[name] = str(error)
    except OutOfTime:
        _note_failure(done, name, f"stopped: {SPENT}", seed=seed, share=share)
        if share == 1 and len(done.on_all_pictures(name)) < 2:
            done.failed[name] = f"stopped: {SPENT}"
    except KeyboardInterrupt:
        if done.trained:
            write(done, finished=False)
            say(f"what there is so far: {done.out / 'compare.html'}")
        raise
    finally:
        forget()
    if done.trained:
        write(done, finished=False)


def _note_failure(done: Comparison, name: str, what: str, *, seed: int, share: float) -> None:
    where = f"{done.title(name)}, seed {seed}" + (f", {share:.0%} of the pictures" if share < 1 else "")
    warn(f"{where}, {what}")
    done.notes.append(f"{where}, {what}")
