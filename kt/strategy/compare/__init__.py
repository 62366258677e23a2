"""Trains several recipes on the same pictures with several seeds, and says which is better, and how certain that is.

`kt.strategy.strategies` gives the usual recipes. The best is chosen on validation. Each trained model is measured on
the test split once, only for the report.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kt.base.backend import running
from kt.base.console import say, warn
from kt.base.numbers import duration
from kt.base.run_folder import COMPARISON_PAGE, STEPS, TRIALS
from kt.base.stages import Stage, key_of
from kt.errors import DataError, TrainingError
from kt.recipe import Recipe, describe
from kt.runs.data import check_same_data
from kt.runs.exports import record
from kt.runs.origin import Origin
from kt.strategy.compare.checking import buildable, check_comparable, check_test
from kt.strategy.compare.comparison import BASELINE, Comparison
from kt.strategy.compare.plan import BUDGET
from kt.strategy.compare.results import write_comparison
from kt.strategy.compare.schedule import SPENT, Schedule, scheduled, with_epochs
from kt.strategy.compare.training import OutOfTime, TrainedStrategy, cut_down, forget, share_of, train_once
from kt.training import seed_everything

__all__ = ["BUDGET", "SHARES", "compare"]

SHARES = (0.05, 0.1, 0.25, 0.5)
"""The shares of the training pictures that learning curves have, besides all pictures."""


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
    """Train each recipe with each seed, and return the content of `out/compare.json`; `out/compare.html` shows it.

    named: recipes by name. Their data must be the same; it is read once, from the first recipe. The others are compared
    with the recipe named "scratch". titles: names for a person. shares: of the training pictures, for the learning
    curves of scratch and of the best other recipe; none for no curves. budget: seconds from reading on; None for no
    limit. First a few steps of each recipe are timed. Then the plan is printed: what will be trained, how long that
    takes, and what was cut to fit, in the order of `kt.strategy.compare.plan.make`.

    Both files are written anew after each model, so that an interruption loses at most one model. A strategy whose
    training fails is reported and left out. Raises RecipeError or DataError, before anything trains, for recipes that
    can't be compared.
    """
    started = time.perf_counter()
    check_comparable(named, seeds)
    origin = origin or Origin(name=out.parent.name)
    began = datetime.now(UTC)
    first = next(iter(named.values()))
    seed_everything(first.seed)
    splits = first.data()
    say(f"data: {splits.in_words()}")
    check_test(splits)
    check_same_data(out, splits)
    named, notes = buildable(named, splits)
    out.mkdir(parents=True, exist_ok=True)
    record(out, splits, origin.file)
    key = key_of({name: describe(recipe.phases) for name, recipe in named.items()}, splits.digest, running())
    plan = Stage(out / "plan", key_of(key, seeds, shares, budget))
    work = scheduled(
        named, splits, titles or {}, seeds=len(seeds), shares=shares, budget=budget, started=started, kept=plan
    )
    named = {name: with_epochs(named[name], name, work.plan) for name in work.plan.names}
    sizes = work.plan.sizes
    splits = cut_down(splits, train=sizes.train, validation=sizes.validation, test=sizes.test)
    done = Comparison(named, titles or {}, splits, seeds, origin, out, began, plan=work.as_json(), key=key)
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
    return write_comparison(done, finished=True)


def _curves(done: Comparison, names: Sequence[str], *, work: Schedule) -> None:
    """Train these strategies with each share of the pictures and each seed; equal numbers of pictures train once."""
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
    """Train a strategy and add the trained model; if training fails, say so and go on with the others."""
    began = time.perf_counter()
    folder = done.out / TRIALS / f"{name}-{seed}-{share:g}"
    stage = Stage(folder / "trained", key_of(done.key, work.as_json()["pictures"], name, seed, share))
    before = TrainedStrategy.kept_in(stage)
    if before is not None:
        trained, took = before
        say(f"{done.title(name)}, seed {seed}: done before, in {duration(took)}")
        done.trained.append(trained)
        work.until -= took  # the budget counts the time that training took, not the time to read its result
        work.took(name, took, share=share)
        return
    try:
        trained = train_once(
            done.named[name], done.splits, strategy=name, seed=seed, share=share, until=work.until, steps=folder / STEPS
        )
        took = time.perf_counter() - began
        trained.keep(stage, took=took)
        done.trained.append(trained)
        work.took(name, took, share=share)
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
            write_comparison(done, finished=False)
            say(f"what there is so far: {done.out / COMPARISON_PAGE}")
        raise
    finally:
        forget()
    if done.trained:
        write_comparison(done, finished=False)


def _note_failure(done: Comparison, name: str, what: str, *, seed: int, share: float) -> None:
    where = f"{done.title(name)}, seed {seed}" + (f", {share:.0%} of the pictures" if share < 1 else "")
    warn(f"{where}, {what}")
    done.notes.append(f"{where}, {what}")
