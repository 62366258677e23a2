"""`Apples`, a data set that is always available: good and bad apples, drawn by kt, stored by tensorflow-datasets."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from kt.data.assemble import check_geometry
from kt.data.splits import Split, Splits
from kt.errors import RecipeError
from kt.kinds.pictures import Pixels
from kt.kinds.pictures.images import resize
from kt.recipe import check_types
from kt.samples.apples.collection import CLASSES, COUNTS, KNOWN, UNSEEN, apples


@dataclass(frozen=True)
class Apples:
    """Good and bad apples, rendered by kt: 360 for training, 80 for validation, 160 for testing.

    The test pictures show varieties that are not in train. image_size: height and width in pixels. seed: the seed of
    the drawing; another seed draws other apples, and the run's own seed does not change them. The first use of a seed
    renders the pictures into the cache.
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
        """Read the pictures from the cache, after rendering them if they are not there.

        Damaged pictures are rendered again, once. Raises EnvironmentProblem if the cache can't be written.
        """
        # Imported here because tensorflow-datasets takes long to import.
        from kt.samples.apples.builder import stored

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
        examples=np.stack(resized),
        labels=np.array([CLASSES.index(apple.label) for apple in plan], np.int64),
        names=names,
        groups=names,
    )
