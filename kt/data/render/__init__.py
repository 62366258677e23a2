"""Draws one apple, sound or spoilt, from a seed: numpy and Pillow only, some 30 ms a picture.

Colours are computed as linear light and leave as sRGB.
"""

import numpy as np
import numpy.typing as npt

from kt.data.render.canvas import SIDE
from kt.data.render.fruit import Variety, random_pose, random_shape, traced
from kt.data.render.marks import DECAY, DEFECTS, with_harmless_marks
from kt.data.render.scene import (
    composed,
    dappled,
    lit_skin,
    photographed,
    random_backdrop,
    random_light,
    with_stem_and_leaf,
)
from kt.data.render.skin import random_skin

__all__ = ["DEFECTS", "SIDE", "Variety", "render"]


def render(seed: int, variety: Variety, defect: str | None) -> npt.NDArray[np.uint8]:
    """One picture of one apple for whoever needs apples without photos: uint8 `[256, 256, 3]`, RGB.

    The same seed gives the same scene with and without `defect` (one of `DEFECTS`; None: a sound apple), so that the
    two differ by the decay alone.
    """
    scene, decay, camera = (np.random.default_rng([seed, part]) for part in range(3))
    surface = traced(random_shape(scene, variety), random_pose(scene))
    skin = random_skin(scene, variety, surface)
    skin = with_harmless_marks(scene, surface, skin)
    if defect is not None:
        skin = DECAY[defect](decay, surface, skin)
    backdrop = random_backdrop(scene)
    light = random_light(scene)
    picture = composed(scene, backdrop, surface, lit_skin(scene, skin, surface, light, backdrop), light)
    picture = with_stem_and_leaf(scene, picture, surface, light)
    return photographed(camera, dappled(scene, picture))
