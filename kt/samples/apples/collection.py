"""Which apples to draw: varieties, defects and numbers, for each split."""

import hashlib
from dataclasses import dataclass

from kt.kinds.pictures import Pixels
from kt.samples.apples.render import DEFECTS, Variety, draw_apple

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
"""The varieties of each split. Test has varieties that are not in train; validation has some of train's varieties."""


@dataclass(frozen=True)
class Apple:
    """One picture to draw: number `index` of its split, with a defect if it is a bad apple."""

    split: str
    index: int
    variety: Variety
    defect: str | None

    @property
    def label(self) -> str:
        """Its class, `bad` or `good`."""
        return "bad" if self.defect else "good"

    def drawn(self, seed: int) -> Pixels:
        """The picture, uint8 `[256, 256, 3]`: the same on every call; another seed, split or index gives another."""
        own = hashlib.sha256(f"{seed}/{self.split}/{self.index}".encode()).digest()
        return draw_apple(int.from_bytes(own[:8], "big"), self.variety, self.defect)


def apples(split: str) -> list[Apple]:
    """The apples of a split, good and bad ones in turn; varieties are spread evenly over both, defects over the bad."""
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
