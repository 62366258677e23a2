"""Properties of pictures by which a model may answer them well or badly: light, contrast, colour, sharpness, size."""

import numpy as np
import numpy.typing as npt

from kt.kinds.kind import Property

Floats = npt.NDArray[np.float64]

_AT_ONCE = 16
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def properties(pixels: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int32] | None = None) -> tuple[Property, ...]:
    """The properties of pictures uint8 `[N, H, W, 3]`, as a model sees them.

    brightness: the mean luma, 0 (black) to 255 (white). contrast: its standard deviation. colourfulness: that of
    Hasler and Süsstrunk (Measuring Colourfulness in Natural Images, 2003), 0 for grey, above 100 for very colourful.
    sharpness: the standard deviation of luma's Laplacian divided by that of luma, so that little contrast does
    not count as blur, as it does for the variance of the Laplacian alone. sizes: height and width of the
    originals; their shorter side, and how much longer the other is, which the resize to a square takes away.
    """
    parts = [_measured(pixels[start : start + _AT_ONCE]) for start in range(0, len(pixels), _AT_ONCE)]
    light, contrast, colour, sharp = np.concatenate(parts, axis=1) if parts else np.zeros((4, 0))
    told = [
        Property("brightness", light, below="darker than {}", above="at least as bright as {}"),
        Property("contrast", contrast, below="with contrast below {}", above="with contrast of {} or more"),
        Property("colourfulness", colour, below="less colourful than {}", above="at least as colourful as {}"),
        Property("sharpness", sharp, below="less sharp than {}", above="at least as sharp as {}", places=2),
    ]
    if sizes is not None and len(sizes):
        short, long = sizes.min(axis=1).astype(np.float64), sizes.max(axis=1)
        told += [
            Property("size", short, below="smaller than {} px", above="of {} px or larger"),
            Property("elongation", long / np.maximum(short, 1), below="less than {} times as long as wide",
                     above="at least {} times as long as wide", places=2),
        ]  # fmt: skip
    return tuple(told)


def _measured(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Brightness, contrast, colourfulness and sharpness of a few pictures, `[4, n]`."""
    levels = pixels.astype(np.float32)
    luma = levels @ _LUMA
    flat = luma.reshape(len(luma), -1)
    contrast = flat.std(axis=1)
    red_green = (levels[..., 0] - levels[..., 1]).reshape(len(luma), -1)
    yellow_blue = (0.5 * (levels[..., 0] + levels[..., 1]) - levels[..., 2]).reshape(len(luma), -1)
    spread = np.sqrt(red_green.var(axis=1) + yellow_blue.var(axis=1))
    mean = np.sqrt(red_green.mean(axis=1) ** 2 + yellow_blue.mean(axis=1) ** 2)
    inner = luma[:, 1:-1, 1:-1]
    laplacian = luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:] - 4 * inner
    edges = laplacian.reshape(len(luma), -1).std(axis=1)
    sharpness = np.where(contrast > 0, edges / np.maximum(contrast, 1e-6), 0.0)
    return np.stack([flat.mean(axis=1), contrast, spread + 0.3 * mean, sharpness]).astype(np.float64)
