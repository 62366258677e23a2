"""`kt explain`: shows where a model looks in pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kt.base.console import say, shown, tell, tell_cells, tell_json, warn
from kt.base.run_folder import LABELS, MODEL
from kt.cli.options import json_option
from kt.errors import ReleaseError
from kt.runs.listing import is_run

if TYPE_CHECKING:
    from kt.explain.models import ModelToExplain
    from kt.runs.shown_pictures import PictureOfRun


@click.command("explain")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path), nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), default=Path("explained"), show_default=True, metavar="DIR",
              help="The folder for the overlays; it must be new or empty.")  # fmt: skip
@click.option("--method", type=click.Choice(["grad_cam", "layer_cam", "occlusion"]),
              help="How. Default: grad_cam, or occlusion where the model has no gradients.")  # fmt: skip
@click.option("--class", "label", metavar="NAME", help="The class to explain. Default: the best of each picture.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    model: Path,
    pictures: tuple[Path, ...],
    out: Path,
    method: str | None,
    label: str | None,
    as_json: bool,
) -> None:
    """Show where a model looks in pictures.

    MODEL is a run, such as runs/apples/LATEST, a .keras file, a release or one version of it, a SavedModel, or a
    .tflite file. PICTURES are files, folders and zips. Writes an overlay for each picture and a page, DIR/index.html.
    Prints path, class, score and what the map shows, a picture a line. Files that can't be read are reported on
    standard error; exit code 3 if no picture could be read.

    Gradients need a .keras file, which each run has. Other models are explained by occlusion: by what their scores do
    when a part of the picture is blurred.

    Without PICTURES, those test pictures of a run that its report explains: of each class some that are right, then the
    wrongest. A fifth column has their true class. Their files must be where the run read them.
    """
    if not pictures and not is_run(model.resolve()):
        raise click.UsageError("Missing argument 'PICTURES...'; only a run has test pictures to explain.", context)
    own = [] if pictures else _own_pictures(model)
    from kt.base import backend

    backend.start()
    from kt.explain.files import PAGE, check_new, explain_files, explain_sources
    from kt.kinds.kind import Source

    check_new(out)
    opened = _opened(model)
    if opened.why_not and method is None:
        say(f"by occlusion, for {shown(opened.path)} has no gradients: {opened.why_not}")
    if own:
        sources = [Source(Path(each.name), each.file) for each in own]
        truths = [each.label for each in own]
        done = explain_sources(opened, sources, out=out, method=method, label=label, truths=truths)  # type: ignore[arg-type]
    else:
        done = explain_files(opened, pictures, out=out, method=method, label=label)  # type: ignore[arg-type]
    for each in done.pictures:
        if each.error:
            warn(f"{each.path}: {each.error}")
        elif not as_json:
            tell_cells(each.path, each.label, f"{each.score:.3f}", each.in_words(), *filter(None, [each.truth]))
    for line in done.left.lines():
        warn(line)
    if as_json:
        tell_json(done.as_json())
    else:
        tell(f"page: {shown(out / PAGE)}")


def _own_pictures(run: Path) -> "list[PictureOfRun]":
    """The test pictures that the report of a run explains and whose files are there; it warns of the others."""
    from kt.runs.shown_pictures import shown_pictures

    pictures = shown_pictures(run)
    for each in pictures:
        if each.file is None:
            warn(f"{each.name}: it is not where the run read it, or it has changed; left out")
    return [each for each in pictures if each.file is not None]


def _opened(model: Path) -> "ModelToExplain":
    """The model of a run, or an exported one."""
    from kt.explain.models import open_model

    if not is_run(model.resolve()):
        return open_model(model)
    if not (model / MODEL).is_file():
        raise ReleaseError(
            f"{shown(model)} has no {MODEL} yet: its training has not ended. kt runs says how far it is."
        )
    labels = model / LABELS
    names = labels.read_text(encoding="utf-8").split("\n")[:-1] if labels.is_file() else []
    return open_model(model / MODEL, classes=names)
