"""`kt drift`: whether new examples still come like those that a model was measured on."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kt.base.console import say, tell, tell_json, warn
from kt.cli.exported import exported
from kt.cli.options import json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kt.predict.drifted import DriftOfFiles

_LISTED = 20


@click.command("drift")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--alarm", type=click.FloatRange(0.01, 0.5), default=0.05, show_default=True,
              help="The share of sets without drift that may be reported as drift.")  # fmt: skip
@click.option("--group-by", default="auto", show_default=True, metavar="WAY",
              help="Which pictures show one thing: folder, prefix, none, a regular expression.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random divisions.")
@click.option("--fail", is_flag=True, help="Exit with code 1 if there is drift.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    model: Path,
    pictures: tuple[Path, ...],
    alarm: float,
    group_by: str,
    seed: int,
    fail: bool,
    as_json: bool,
) -> None:
    """Tell whether new pictures are still like the old ones.

    They need no labels.

    MODEL is saved_models/NAME (its newest version), one version of it, or a run. PICTURES are files, folders and zips,
    or tables for a model of rows. They are compared with the validation and test pictures that the model carries as
    features. Prints the verdict (none, drift, too few to tell), how the classes' shares have changed, and which
    pictures are new. Files that can't be read are reported on standard error.
    """
    from kt.base import backend

    backend.start("tensorflow")
    from kt.drift import DRIFT
    from kt.predict.drifted import drift_of_files

    done = drift_of_files(exported(model), pictures, group_by=group_by, alarm=alarm, seed=seed)
    for name, why in done.bad:
        warn(f"{name}: {why}")
    for line in done.left.lines():
        warn(line)
    if done.grouping:
        say(done.grouping)
    if as_json:
        tell_json(done.as_json())
    else:
        tell(*_lines(done))
    if fail and done.drift.verdict == DRIFT:
        context.exit(1)


def _lines(done: "DriftOfFiles") -> "Iterator[str]":
    """The judgement for a person."""
    from kt.base.few import FEW
    from kt.base.numbers import figure, interval, percent
    from kt.drift import OF_EXAMPLES, OF_SHARES, TOO_FEW, UNTOLD

    drift, many, one = done.drift, done.kind.many, done.kind.one
    held_out = _counted(drift.held_out, drift.held_out_independent)
    sides = f"{_counted(drift.examples, drift.independent)} {many} against {held_out} held-out ones"
    p = "" if drift.p is None else f"; p {figure(drift.p)}, an alarm at {drift.alarm:g}"
    yield f"{drift.verdict}: {sides}{p}"
    seems = {
        OF_EXAMPLES: f"the {many} look otherwise; other shares of the classes alone do not explain it",
        OF_SHARES: f"it seems that only the shares of the classes have changed, and not the {many} of each class",
        UNTOLD: f"whether the {many} look otherwise, or the classes have other shares, can't be told",
    }
    if drift.seems:
        yield f"  {seems[drift.seems]}"
    if drift.verdict == TOO_FEW:
        yield f"  only a large drift could be seen: {FEW} independent {many} or more are needed on both sides"
    if (compared := drift.compared) is not None:
        auc = f"AUC {figure(compared.auc)} ({interval(compared.auc_interval)}; 0.5 means that it can't)"
        yield f"  a classifier that tells new from held-out {many}: {auc}"
        yield "  p of each test: " + ", ".join(f"{name} {figure(p)}" for name, p in compared.each.items())
    if drift.shares is None:
        yield f"  shares of the classes can't be told: {drift.untold}"
    else:
        yield f"  shares of the classes, held out and new, if the {many} of each class look as before:"
        for name, before, now, ends in zip(
            done.classes, drift.shares.reference, drift.shares.new, drift.shares.intervals, strict=True
        ):
            yield f"    {name}: {percent(before)}, {percent(now)} ({percent(ends[0])} to {percent(ends[1])})"
    if drift.unlike is None:
        yield f"  which {many} are new can't be told: too few held-out ones"
        return
    if drift.unlike.copies:
        yield f"  {drift.unlike.copies} of them are copies of held-out {many}, which makes drift harder to see"
    places, rate = drift.unlike.places, drift.unlike.rate
    yield f"  new, as no held-out {one}: {len(places)} ({rate * drift.examples:.1f} are expected by chance)"
    for place in places[:_LISTED]:
        yield f"    {done.names[place]}  distance {figure(drift.unlike.distances[place])}"
    if len(places) > _LISTED:
        yield f"    and {len(places) - _LISTED} more, which --json names"


def _counted(examples: int, independent: int) -> str:
    return f"{examples:,}" if examples == independent else f"{examples:,} ({independent:,} independent)"
