"""Scores of a trained model for many pictures, with its frozen layers computed as training computed them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from kt.freeze import Moving
from kt.frozen.cut import Uncut, encoder, find_cut, tail
from kt.frozen.encode import BATCH, by_backend, kept_encoder
from kt.network.model import Built, predict


def answers(built: Built, pixels: npt.NDArray[Any], *, moving: Moving) -> npt.NDArray[np.float32]:
    """Scores float32 `[N, C]` of examples `[N, ...]`, in inference mode.

    moving: what the last phase trained. If training converted the part before the cut for LiteRT, that part runs by
    LiteRT, which is two to three times as fast; otherwise the backend computes the whole model. The converted part is
    found by a fingerprint of its layers and weights, so a part that has trained since is not taken for it.
    """
    cut = find_cut(built, moving)
    compute = None if isinstance(cut, Uncut) else kept_encoder(encoder(built, [cut]))
    if compute is None or isinstance(cut, Uncut):
        return predict(built.model, pixels)
    end, scores = by_backend(tail(built, cut)), []
    for start in range(0, len(pixels), BATCH):
        activations = np.concatenate(compute(pixels[start : start + BATCH]), axis=1)
        scores.append(end(activations)[0])
    return np.concatenate(scores)
