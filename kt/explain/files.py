"""`kt explain`: overlays of pictures in files, with a page that shows them, written at once into a new folder."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import jinja2
import numpy as np

from kt.base.console import in_lines
from kt.base.files import replace_json, replace_text
from kt.base.scratch import scratch
from kt.errors import DataError
from kt.explain import told
from kt.explain.curves import Removed, removed
from kt.explain.drawing import fitting, overlay, png
from kt.explain.maps import Map, Method, Pixels
from kt.explain.models import ModelToExplain, index_of
from kt.kinds.kind import Source
from kt.kinds.pictures.find import LeftOut
from kt.kinds.pictures.images import read_rgb, resize
from kt.predict.files import check_there, examples_in

PAGE, FACTS = "index.html", "explained.json"
_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class ExplainedPicture:
    """A picture with its map, or with the reason why it can't be read.

    classes: of the model. without: what the map's places are worth; None where it points at no place. overlay: the name
    of its PNG. truth: its true class; "" if that is not known.
    """

    path: Path
    error: str = ""
    drawn: Map | None = None
    classes: tuple[str, ...] = ()
    without: Removed | None = None
    overlay: str = ""
    truth: str = ""

    @property
    def label(self) -> str:
        """The class that the map is of."""
        return "" if self.drawn is None else self.classes[self.drawn.label]

    @property
    def predicted(self) -> str:
        """The class with the highest score."""
        return "" if self.drawn is None else self.classes[int(self.drawn.scores.argmax())]

    @property
    def score(self) -> float:
        """The score of the explained class, 0 to 1."""
        return 0.0 if self.drawn is None else float(self.drawn.scores[self.drawn.label])

    def in_words(self) -> str:
        """What the map shows, and what its places are worth."""
        assert self.drawn is not None
        return told.in_words(self.drawn, self.without)

    def as_json(self) -> dict[str, Any]:
        """Plain data; `path` and `error` alone for a picture that can't be read."""
        if self.drawn is None:
            return {"path": str(self.path), "error": self.error}
        facts = told.as_json(self.drawn, self.without, self.classes)
        return {"path": str(self.path), "truth": self.truth or None, **facts, "overlay": self.overlay}


@dataclass
class Explanations:
    """What became of a call: how, of which model, and each picture in order.

    note: one line, if the method is not the one that models with gradients get. left: what folders hold besides
    pictures.
    """

    out: Path
    model: Path
    method: Method
    note: str
    pictures: list[ExplainedPicture] = field(default_factory=list)
    left: LeftOut = field(default_factory=LeftOut)

    @property
    def read(self) -> list[ExplainedPicture]:
        """The pictures that could be read."""
        return [each for each in self.pictures if each.drawn is not None]

    def as_json(self) -> dict[str, Any]:
        """Plain data under stable keys."""
        return {
            "model": str(self.model),
            "method": self.method,
            "note": self.note,
            "out": str(self.out),
            "pictures": [each.as_json() for each in self.pictures],
        }


def check_new(out: Path) -> None:
    """Raise DataError for a folder that holds something already, before any work is done."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise DataError(f"{out} exists already, and nothing in it is overwritten; name a new folder: --out DIR.")


def explain_files(
    model: ModelToExplain, paths: Sequence[Path], *, out: Path, method: Method | None = None, label: str | None = None
) -> Explanations:
    """Explain pictures in files, folders and zips, and write overlays, `index.html` and `explained.json` into `out`.

    method: by default Grad-CAM, or occlusion where the model has no gradients. label: the class to explain; by default
    the best of each picture. `out` appears as a whole at the end. Raises DataError if `out` holds something, for an
    unknown class, for a path that does not exist, and if no picture can be read; then nothing is written.
    """
    check_new(out)
    check_there(paths)
    left = LeftOut()
    sources = list(examples_in(paths, model.kind, left))
    return explain_sources(model, sources, out=out, method=method, label=label, left=left)


def explain_sources(
    model: ModelToExplain,
    sources: Sequence[Source],
    *,
    out: Path,
    method: Method | None = None,
    label: str | None = None,
    truths: Sequence[str] = (),
    left: LeftOut | None = None,
) -> Explanations:
    """The same for pictures of which each has a name. truths: the true class of each; empty if they are not known."""
    check_new(out)
    chosen, wanted = model.method(method), None if label is None else index_of(model.classes, label)
    done = Explanations(out, model.path, chosen, model.why_not if model.network is None else "", left=left or LeftOut())
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with scratch(out.absolute().parent, f".{out.name}-") as folder:
        folder.mkdir()
        for start in range(0, len(sources), _AT_ONCE):
            part = sources[start : start + _AT_ONCE]
            done.pictures += _explained(model, part, folder, method=chosen, label=wanted, first=start + 1)
        if truths:
            done.pictures = [replace(each, truth=truth) for each, truth in zip(done.pictures, truths, strict=True)]
        if not done.read:
            bad = len(done.pictures)
            first = "".join(f"{each.path}: {each.error}" for each in done.pictures[:1])
            raise DataError(f"None of {bad} pictures could be read ({first})." if bad else "No pictures found there.")
        replace_text(folder / PAGE, _page(done))
        replace_json(folder / FACTS, done.as_json())
        if out.is_dir():
            out.rmdir()  # it is empty
        folder.rename(out)
    return done


def _explained(
    model: ModelToExplain, sources: Sequence[Source], folder: Path, *, method: Method, label: int | None, first: int
) -> Iterator[ExplainedPicture]:
    """Each picture of a few, in order; the overlays are written into the folder."""
    shown: dict[int, Pixels] = {}
    errors: dict[int, str] = {}
    for place, source in enumerate(sources):
        try:
            if source.error:
                raise DataError(source.error)
            shown[place] = read_rgb(source.given, value_range=model.kind.value_range)
        except DataError as error:
            errors[place] = str(error)
    if shown:
        pixels = np.stack([resize(picture, model.kind.image_size) for picture in shown.values()])
        maps = model.maps(pixels, method=method, labels=None if label is None else [label] * len(pixels))
        found = dict(zip(shown, zip(maps, removed(model.ask, pixels, maps), strict=True), strict=True))
    for place, source in enumerate(sources):
        if place in errors:
            yield ExplainedPicture(source.name, errors[place])
            continue
        drawn, without = found[place]
        name = f"{first + place:03d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', source.name.stem)[:60] or 'picture'}.png"
        (folder / name).write_bytes(png(overlay(fitting(shown[place]), drawn)))
        yield ExplainedPicture(
            source.name,
            drawn=drawn,
            classes=model.classes,
            without=without,
            overlay=name,
        )


def _page(done: Explanations) -> str:
    """The page that shows the overlays; all names are escaped, and it fetches nothing but the files beside it."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_plain,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("index.html.jinja").render(done=done, title=_TITLES[done.method])


def _plain(value: Any) -> Any:
    """The value without control characters or bytes that are not UTF-8, which names and paths may have."""
    return in_lines(str(value).split("\n")) if type(value) is str or isinstance(value, PurePath) else value


_TITLES = {"layer_cam": "LayerCAM", "grad_cam": "Grad-CAM", "occlusion": "occlusion"}
