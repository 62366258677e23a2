"""Building a recipe's backbone with its weights, and choosing the preprocessing that these weights need."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras

from kt.backbones.catalogue import WeightsEntry, entry_for
from kt.backbones.efficientnet_lite import CONSTRUCTORS
from kt.backbones.fetch import WeightsOrigin, cache_directory, choices, obtain, sha256_of
from kt.backbones.keras_download import call_with_download
from kt.backbones.preprocessing import (
    AS_THEY_ARE,
    EFFICIENTNET_FILE,
    PREPROCESSING_OF,
    PREPROCESSINGS,
    is_normalised_for_imagenet,
)
from kt.backbones.stored_layers import is_saved_model
from kt.backbones.weights_file import load_weights_file
from kt.base.console import warn
from kt.errors import RecipeError, WeightsError, did_you_mean
from kt.graph import family, tell_blocks

Constructor = Callable[..., keras.Model]


@dataclass(frozen=True)
class WeightsSource:
    """The origin of a backbone's weights, for the run's report. file and sha256 are None if there is no file."""

    name: str
    origin: WeightsOrigin
    file: str | None
    sha256: str | None
    licence: str | None
    note: str

    def in_words(self) -> str:
        """The weights and their origin, in one line for the terminal."""
        return f"{self.name} from {self.origin}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class Pretrained:
    """A backbone with its weights.

    model: such as `[B, H, W, 3]` -> feature map `[B, h, w, c]`, no top, no pooling. preprocessing: the name of the
    preprocessing that turns pixels 0..255 into the model's input, for `kt.backbones.preprocessing.preprocess`.
    """

    model: keras.Model
    preprocessing: str
    source: WeightsSource


def build_backbone(constructor: Constructor, weights: str | None, *, shape: tuple[int, ...]) -> Pretrained:
    """Build a backbone for inputs of a shape, such as `(224, 224, 3)`, and give it its weights.

    constructor: of `keras.applications` or `kt.backbones`, also in a `functools.partial`, or a user's own function
    `(include_top, weights, input_shape) -> keras.Model`. The latter's attribute `preprocessing` names one of
    `PREPROCESSINGS`; its optional attribute `block_of` gives the block of a layer by its name. weights: "imagenet",
    None or "none" (random), or the path to a local file. Raises RecipeError if the backbone can't be built,
    WeightsError if the weights can't be had or do not fit.
    """
    weights = None if weights in {None, "none", "None"} else weights
    name = known_name(constructor)
    if name is None:
        return _build_custom(constructor, weights, shape=shape)
    if name not in PREPROCESSING_OF:
        raise RecipeError(f"kt does not know what keras.applications.{name} wants to see; take another backbone.")
    if weights is None:
        model = _construct(constructor, None, shape=shape)
        source = WeightsSource(name, "none (random)", None, None, None, "random weights; nothing is pretrained")
        return Pretrained(model, PREPROCESSING_OF[name], source)
    if weights != "imagenet":
        return _from_file(constructor, Path(weights).expanduser(), shape=shape)
    entry = entry_for(name)
    # A partial of a Keras constructor may have another width than the file; kt's own have no width.
    if entry and (entry.library == "kt.backbones" or not isinstance(constructor, partial)):
        return _from_catalogue(constructor, entry, shape=shape)
    return _from_keras(constructor, shape=shape)


def known_name(constructor: Constructor) -> str | None:
    """The constructor's name in `keras.applications` or `kt.backbones`; None if it is a user's own."""
    inner = constructor.func if isinstance(constructor, partial) else constructor
    name = getattr(inner, "__name__", "")
    return name if name and (inner in CONSTRUCTORS or getattr(keras.applications, name, None) is inner) else None


def _from_catalogue(constructor: Constructor, entry: WeightsEntry, *, shape: tuple[int, ...]) -> Pretrained:
    model = _construct(constructor, None, shape=shape)  # before anything is fetched, because it may fail
    path, origin = obtain(entry)
    load_weights_file(model, path)
    source = WeightsSource(entry.name, origin, str(path), entry.sha256, entry.licence, f"{entry.origin}; {entry.note}")
    return Pretrained(model, entry.preprocessing, source)


def _from_keras(constructor: Constructor, *, shape: tuple[int, ...]) -> Pretrained:
    """Weights that kt's catalogue lacks: from Keras's cache, or by its download."""
    name = str(known_name(constructor))
    try:
        model, asked = call_with_download(lambda: _construct(constructor, "imagenet", shape=shape))
    except WeightsError as error:
        raise WeightsError(
            f"Cannot get the ImageNet weights of {name}. Keras's download: {error}. {choices()}"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"Keras cannot load its cached ImageNet weights of {name}: {' '.join(str(error).split())[:300]}. "
            f"Delete the damaged file in {cache_directory()}. {choices()}"
        ) from error
    source = WeightsSource(
        name=f"{name} imagenet",
        origin="Keras download" if asked else "cache",
        file=asked[0].rpartition("/")[2] if asked else None,
        sha256=None,
        licence=None,
        note="chosen and fetched by Keras; not in kt's catalogue, so kt did not check its hash or licence",
    )
    return Pretrained(model, PREPROCESSING_OF[name], source)


def _from_file(constructor: Constructor, path: Path, *, shape: tuple[int, ...]) -> Pretrained:
    name = str(known_name(constructor))
    if path.is_dir() and not is_saved_model(path):
        raise WeightsError(
            f"weights={str(path)!r} is a folder and no SavedModel: saved_model.pb or variables/ is missing."
        )
    if not path.exists():
        raise WeightsError(f"weights={str(path)!r} is neither 'imagenet' nor None nor a file that exists. {choices()}")
    model = _construct(constructor, None, shape=shape)
    load_weights_file(model, path)
    preprocessing = PREPROCESSING_OF[name]
    if name.startswith("EfficientNetB") and is_normalised_for_imagenet(model):
        preprocessing = EFFICIENTNET_FILE
    numbers = (
        path / "variables" / "variables.index" if path.is_dir() else path
    )  # the index holds checksums of the other files
    source = WeightsSource(
        path.name, "file", str(path), sha256_of(numbers), None, "a local file; its licence is its owner's"
    )
    return Pretrained(model, preprocessing, source)


def _build_custom(constructor: Constructor, weights: str | None, *, shape: tuple[int, ...]) -> Pretrained:
    inner = constructor.func if isinstance(constructor, partial) else constructor
    name = str(getattr(inner, "__name__", type(inner).__name__))
    preprocessing = getattr(constructor, "preprocessing", getattr(inner, "preprocessing", None))
    if preprocessing is None and len(shape) != 3:
        preprocessing = AS_THEY_ARE
    if preprocessing is None:
        preprocessing = AS_THEY_ARE
        warn(
            f"{name} is not of keras.applications, so it gets pixels 0..255 as they are; "
            f"if its weights want another input, say {name}.preprocessing = one of: {'; '.join(PREPROCESSINGS)}"
        )
    if preprocessing not in PREPROCESSINGS:
        hint = did_you_mean(str(preprocessing), PREPROCESSINGS)
        raise RecipeError(f"{name}.preprocessing is {preprocessing!r}, which kt does not know. {hint}")
    try:
        model, asked = call_with_download(lambda: _construct(constructor, weights, shape=shape))
    except WeightsError as error:
        raise WeightsError(f"Cannot get the weights of {name}: {error}. {choices()}") from error
    origin: WeightsOrigin = "constructor" if weights else "none (random)"
    note = f"as {name} loaded them" + (f", from {asked[0]}" if asked else "")
    source = WeightsSource(name, origin, None, None, None, note if weights else "as the constructor made them")
    return Pretrained(model, str(preprocessing), source)


def _construct(constructor: Constructor, weights: str | None, *, shape: tuple[int, ...]) -> keras.Model:
    _check_partial(constructor)
    try:
        model: Any = constructor(include_top=False, weights=weights, input_shape=shape)
    except ValueError as error:
        if "nput size must be at least" not in str(error):
            raise
        raise RecipeError(
            f"{known_name(constructor) or 'This backbone'} cannot take pictures of {shape[0]}x{shape[1]} pixels: "
            f"{str(error).partition(';')[0]}. Set a larger image_size."
        ) from error
    is_model = isinstance(model, keras.Model)
    given = model(keras.Input(shape)).shape if is_model else type(model).__name__
    if not is_model or len(given) != len(shape) + 1:
        wanted = "map [batch, height, width, channels]" if len(shape) == 3 else "row [batch, features]"
        raise RecipeError(
            f"A backbone returns a keras.Model that gives a feature {wanted}; this one returned {given}. Leave out top "
            "and pooling."
        )
    inner = constructor.func if isinstance(constructor, partial) else constructor
    if own := getattr(constructor, "block_of", getattr(inner, "block_of", None)):
        tell_blocks(model, own)
    elif name := known_name(constructor):
        tell_blocks(model, family(name))
    return model


def _check_partial(constructor: Constructor) -> None:
    """Raise RecipeError for a partial that turns off preprocessing; others, such as a width, are allowed."""
    if isinstance(constructor, partial) and constructor.keywords.get("include_preprocessing") is False:
        raise RecipeError("Leave include_preprocessing as it is: kt gives the backbone pixels 0..255.")
