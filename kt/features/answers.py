"""What a trained model answers for many pictures, with what is frozen in it computed as training computed it."""

import numpy as np
import numpy.typing as npt

from kt.data.splits import Pixels
from kt.features.cut import Uncut, encoder, find_border, rest
from kt.features.encode import BATCH, by_backend, kept_encoder
from kt.model import Built, predict


def answers(built: Built, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Scores float32 `[N, C]` of uint8 pictures `[N, H, W, 3]`, in inference mode.

    By LiteRT up to the border, where training had that part converted, which is two to three times as fast; else all
    of it by the backend. The part is known by its layers and weights, so one that was trained since is another.
    """
    border = find_border(built)
    compute = None if isinstance(border, Uncut) else kept_encoder(encoder(built, [border]))
    if compute is None or isinstance(border, Uncut):
        return predict(built.model, pixels)
    end, found = by_backend(rest(built, border)), []
    for start in range(0, len(pixels), BATCH):
        rows = np.concatenate(compute(pixels[start : start + BATCH]), axis=1)
        found.append(end(rows)[0])
    return np.concatenate(found)
