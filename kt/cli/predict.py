"""`kt predict`: labels pictures with a released model."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kt.base.console import say, tell, tell_cells, tell_json, warn
from kt.cli.options import decision_options, json_option
from kt.errors import DataError

if TYPE_CHECKING:
    from kt.kinds.kind import Nouns
    from kt.predict.decide import Wanted
    from kt.predict.resumable import Summary


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
              help="Write a table, .csv or .parquet, with a row for each picture.")  # fmt: skip
@click.option("--engine", type=click.Choice(["auto", "tensorflow", "litert", "ray"]),
              help="The engine that computes, with --out. Default: auto, the fastest.")  # fmt: skip
@click.option("--restart", is_flag=True, help="Throw away what an interrupted --out has done, and begin again.")
@click.option("--label-shift", is_flag=True,
              help="Correct the scores for the classes' shares among these pictures, with --out.")  # fmt: skip
@decision_options
@json_option
def command(
    model: Path,
    pictures: tuple[Path, ...],
    out: Path | None,
    engine: str | None,
    restart: bool,
    label_shift: bool,
    abstain_below: float,
    thresholds: tuple[tuple[str, float], ...],
    sets: float | None,
    as_json: bool,
) -> None:
    """Label pictures with a released model.

    MODEL is saved_models/NAME (its newest version), one version of it, or one file of a version. PICTURES are files,
    folders and zips. Prints path, label and score (0 to 1), a picture a line, and "unfamiliar" if the picture is unlike
    anything the model learned from; with --json an object a line, with all scores. Files that can't be read, and what
    folders hold besides pictures, are reported on standard error; exit code 3 if no picture could be read.

    With --out a table is written, for any number of pictures. After an interruption the same command goes on. With
    --label-shift its scores are corrected, and FILE.label_shift.json says how.

    Where the model is not sure enough for --abstain-below or --threshold, a picture is unsure: its label is empty in
    the table, null in JSON.
    """
    if out is None and (engine or restart or label_shift):
        raise click.UsageError("--engine, --restart and --label-shift go with --out FILE.")
    if label_shift and sets is not None:
        raise click.UsageError("--sets holds for the model's own scores, which --label-shift changes; leave one out.")
    from kt.base import backend

    backend.start("tensorflow")
    from kt.predict.decide import Wanted

    wanted = Wanted(thresholds, abstain_below, sets)
    if out is None:
        _print(model, pictures, wanted, as_json=as_json)
    else:
        from kt.predict.resumable import predict_to

        done = predict_to(
            out, model=model, pictures=pictures, engine=engine or "auto", restart=restart, label_shift=label_shift,
            wanted=wanted,
        )  # fmt: skip
        _tell_table(done, as_json=as_json)


def _print(model: Path, pictures: tuple[Path, ...], wanted: "Wanted", *, as_json: bool) -> None:
    from kt.export.artifact import open_artifact
    from kt.kinds.pictures.find import LeftOut
    from kt.predict import predict_files
    from kt.predict.decide import decided

    artifact, left = open_artifact(model), LeftOut()
    decision = wanted.of(model, artifact.classes)
    good = bad = unsure = unfamiliar = 0
    for given in predict_files(artifact, pictures, left):
        answer = decided(given, decision)
        unsure += not answer.error and answer.label is None
        if answer.error:
            bad += 1
            warn(f"{answer.path}: {answer.error}")
        else:
            good += 1
            unfamiliar += answer.unfamiliar is True
        if as_json:
            tell_json(answer.as_json())
        elif not answer.error:
            cells = [answer.path, "unsure" if answer.label is None else answer.label, f"{answer.score:.3f}"]
            cells += [] if answer.one_of is None else [", ".join(answer.one_of)]
            tell_cells(*cells, *(["unfamiliar"] if answer.unfamiliar else []))
    for line in left.lines():
        warn(line)
    if decision.abstains and good:
        say(_how_many_unsure(unsure, good, artifact.kind))
    if unfamiliar:
        warn(_unfamiliar(unfamiliar, good, artifact.kind))
    if not good:
        many = artifact.kind.many
        raise DataError(f"None of {bad} {many} could be read." if bad else f"No {many} found there.")


def _how_many_unsure(unsure: int, good: int, kind: "Nouns") -> str:
    return f"{unsure:,} of {good:,} {kind.many} are unsure, and get no label"


def _unfamiliar(count: int, of: int, kind: "Nouns") -> str:
    are = "is" if count == 1 else "are"
    return f"{count:,} of {of:,} {kind.many} {are} unlike anything the model learned from: don't trust these answers"


def _tell_table(done: "Summary", *, as_json: bool) -> None:
    if as_json:
        facts = {field.name: getattr(done, field.name) for field in dataclasses.fields(done)}
        tell_json({**facts, "kind": done.kind.name, "out": str(done.out), "images_per_second": done.rate})
    else:
        bad = f"{done.errors:,} of them can't be read" if done.errors else "all read"
        unsure = f", {done.unsure:,} unsure" if done.abstains else ""
        left = f"; left out: {done.left_out}" if done.left_out else ""
        speed = f"{done.seconds:.1f} s, {done.rate:.0f} {done.kind.unit}s/s ({done.engine})"
        tell(f"{done.out}: {done.pictures:,} {done.kind.many}, {bad}{unsure}{left}; {speed}")
    if done.unfamiliar:
        warn(_unfamiliar(done.unfamiliar, done.pictures - done.errors, done.kind))
    if done.errors == done.pictures:
        raise DataError(f"None of {done.pictures} {done.kind.many} could be read.")
