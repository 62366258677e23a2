"""Dark and light pictures, made up, for the facts here and for tests of training."""

import numpy as np

from kt.data.splits import Split, Splits


def dark_and_light(train, validation, test, *, size, contrast=100):
    """Splits of so many pictures of height and width `size`, every other one lighter, by `contrast` levels."""
    parts = (_part(count, seed, size, contrast) for seed, count in enumerate((train, validation, test)))
    return Splits(*parts, ("dark", "light"), 8, "made up", "-")


def _part(count, seed, size, contrast):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = random.integers(0, 120, (count, *size, 3)) + contrast * labels[:, None, None, None]
    names = tuple(map(str, range(count)))
    return Split(pixels.astype(np.uint8), labels.astype(np.int64), names, names)
