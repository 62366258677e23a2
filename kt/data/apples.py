"""`Apples`, the data set that is always there: good and bad apples, drawn by kt and kept by tensorflow-datasets."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from kt.data.assemble import check_geometry
from kt.data.images import resize
from kt.data.render import DEFECTS, Variety, render
from kt.data.splits import Pixels, Split, Splits
from kt.errors import RecipeError
from kt.recipe import check_types

CLASSES = ("bad", "good")
COUNTS = {"train": 360, "validation": 80, "test": 160}

# ground, blush: skin colours; then coverage, stripes, lenticels, russet; height, taper, lobes, gloss.
KNOWN = (
    Variety("elstar", (222, 186, 82), (196, 54, 34), 0.5, 0.6, 0.25, 0.15, 0.98, 0.02, 0.3, 0.5),
    Variety("fuji", (206, 178, 96), (178, 62, 60), 0.65, 0.5, 0.5, 0.1, 1.0, 0.02, 0.4, 0.5),
    Variety("gala", (226, 190, 90), (196, 52, 36), 0.62, 0.8, 0.3, 0.08, 1.02, 0.04, 0.4, 0.6),
    Variety("golden_delicious", (214, 196, 84), (222, 172, 84), 0.25, 0.0, 0.7, 0.22, 1.06, 0.07, 0.5, 0.4),
    Variety("granny_smith", (138, 176, 58), (152, 168, 70), 0.15, 0.0, 0.7, 0.04, 1.0, 0.03, 0.3, 0.7),
    Variety("jonagold", (208, 190, 74), (194, 58, 34), 0.45, 0.45, 0.4, 0.14, 1.0, 0.03, 0.5, 0.6),
    Variety("mcintosh", (150, 170, 70), (148, 26, 40), 0.66, 0.2, 0.3, 0.03, 0.94, 0.0, 0.5, 0.5),
    Variety("red_delicious", (150, 44, 40), (122, 14, 28), 0.9, 0.4, 0.6, 0.0, 1.12, 0.13, 1.0, 0.8),
)
UNSEEN = (
    Variety("boskoop", (172, 158, 70), (166, 84, 48), 0.35, 0.2, 0.2, 0.42, 0.94, 0.02, 0.5, 0.2),
    Variety("braeburn", (186, 174, 76), (170, 44, 38), 0.55, 0.6, 0.35, 0.06, 1.04, 0.05, 0.4, 0.6),
    Variety("cox", (204, 170, 72), (190, 84, 40), 0.45, 0.55, 0.2, 0.25, 0.96, 0.02, 0.2, 0.35),
    Variety("cripps_pink", (206, 198, 112), (206, 76, 92), 0.55, 0.1, 0.45, 0.03, 1.06, 0.03, 0.3, 0.7),
    Variety("honeycrisp", (220, 198, 108), (200, 48, 50), 0.55, 0.7, 0.4, 0.08, 0.98, 0.03, 0.3, 0.6),
    Variety("mutsu", (178, 190, 78), (196, 174, 84), 0.25, 0.0, 0.55, 0.08, 1.02, 0.05, 0.6, 0.5),
)
VARIETIES = {
    "train": KNOWN,
    "validation": tuple(variety for variety in KNOWN if variety.name in {"fuji", "gala", "granny_smith", "jonagold"}),
    "test": UNSEEN,
}
"""Test holds varieties that train never sees; validation other pictures of some that it does."""


@dataclass(frozen=True)
class Apple:
    """One picture to draw: the `index`-th of its split, with a defect if it is a bad one."""

    split: str
    index: int
    variety: Variety
    defect: str | None

    @property
    def label(self) -> str:
        """Its class, `bad` or `good`."""
        return "bad" if self.defect else "good"

    def drawn(self, seed: int) -> Pixels:
        """The picture, uint8 `[256, 256, 3]`: the same on every call, another for another seed, split or index."""
        own = hashlib.sha256(f"{seed}/{self.split}/{self.index}".encode()).digest()
        return render(int.from_bytes(own[:8], "big"), self.variety, self.defect)


def apples(split: str) -> list[Apple]:
    """What the split holds, good and bad in turn; varieties and defects are spread evenly over both."""
    varieties = VARIETIES[split]
    return [
        Apple(
            split=split,
            index=index,
            variety=varieties[index // 2 % len(varieties)],
            defect=DEFECTS[index // 2 % len(DEFECTS)] if index % 2 else None,
        )
        for index in range(COUNTS[split])
    ]


@dataclass(frozen=True)
class Apples:
    """Good and bad apples, rendered by kt: 360 to train on, 80 to validate, and 160 of varieties that train never sees.

    image_size: height and width in pixels. seed: of the drawing; another seed draws other apples, and a run's own seed
    does not touch it. The first use of a seed renders the pictures into the cache.
    """

    image_size: tuple[int, int] = (224, 224)
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_geometry(self.image_size, self.batch_size)
        if self.seed < 0:
            raise RecipeError(f"Apples: seed must be 0 or more, not {self.seed}.")

    def __call__(self) -> Splits:
        """Read the pictures back, after rendering them if need be.

        A damaged set is rendered again, once. Raises EnvironmentProblem where the cache can't be written.
        """
        from kt.data.apples_builder import stored

        full = stored(self.seed)
        digest = hashlib.sha256()
        parts = {split: _part(split, pictures, self.image_size) for split, pictures in full.items()}
        for split, pictures in full.items():
            for apple, pixels in zip(apples(split), pictures, strict=True):
                digest.update(f"{split}\0{apple.label}\0".encode() + pixels.tobytes())
        total, varieties = sum(COUNTS.values()), len(KNOWN) + len(UNSEEN)
        return Splits(
            train=parts["train"],
            validation=parts["validation"],
            test=parts["test"],
            classes=CLASSES,
            batch_size=self.batch_size,
            origin=f"rendered by kt: {total} pictures of {varieties} apple varieties (seed {self.seed}); "
            "these are drawings, not photos",
            digest=digest.hexdigest(),
            rendered=True,
        )


def _part(split: str, pictures: list[Pixels], image_size: tuple[int, int]) -> Split:
    plan = apples(split)
    names = tuple(
        f"{split}/{apple.label}/{apple.variety.name}_{apple.index:04d}" + (f" ({apple.defect})" if apple.defect else "")
        for apple in plan
    )
    with ThreadPoolExecutor() as pool:
        resized = list(pool.map(partial(resize, size=image_size), pictures))
    return Split(
        pixels=np.stack(resized),
        labels=np.array([CLASSES.index(apple.label) for apple in plan], np.int64),
        names=names,
        groups=names,
    )
