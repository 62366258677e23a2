"""Draws one apple, good or bad, from a seed, with numpy and Pillow only, in about 30 ms a picture.

Colours are computed as linear light; the result is in sRGB.
"""

import numpy as np
import numpy.typing as npt

from kt.samples.apples.render.canvas import SIDE
from kt.samples.apples.render.fruit import Variety, random_pose, random_shape, ray_traced
from kt.samples.apples.render.marks import DECAY, DEFECTS, with_harmless_marks
from kt.samples.apples.render.scene import (
    composed,
    dappled,
    lit_skin,
    photographed,
    random_backdrop,
    random_light,
    with_stem_and_leaf,
)
from kt.samples.apples.render.skin import random_skin

__all__ = ["DEFECTS", "SIDE", "Variety", "draw_apple"]


def draw_apple(seed: int, variety: Variety, defect: str | None) -> npt.NDArray[np.uint8]:
    """One picture of one apple, uint8 `[256, 256, 3]`, RGB.

    defect: one of `DEFECTS`, or None for a good apple. The same seed gives the same scene with and without a defect,
    so that the two pictures differ only by the decay.
    """
    scene, decay, camera = (np.random.default_rng([seed, part]) for part in range(3))
    surface = ray_traced(random_shape(scene, variety), random_pose(scene))
    skin = random_skin(scene, variety, surface)
    skin = with_harmless_marks(scene, surface, skin)
    if defect is not None:
        skin = DECAY[defect](decay, surface, skin)
    backdrop = random_backdrop(scene)
    light = random_light(scene)
    picture = composed(scene, backdrop, surface, lit_skin(scene, skin, surface, light, backdrop), light)
    picture = with_stem_and_leaf(scene, picture, surface, light)
    return photographed(camera, dappled(scene, picture))
