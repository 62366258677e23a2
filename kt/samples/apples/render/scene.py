"""The scene around the apple: light, background, stem and leaf, and the camera."""

import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from kt.samples.apples.render.canvas import (
    LINEAR,
    SIDE,
    TONE_STEPS,
    TONES,
    Floats,
    blended,
    happens,
    length_of,
    moved,
    painted,
    random_shade,
    smooth_noise,
    smooth_step,
    softened,
)
from kt.samples.apples.render.fruit import Pose, Surface
from kt.samples.apples.render.skin import Skin

# --- light ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Light:
    """The main light: its direction `[3]` (a unit vector in camera space) and its colour `[3]`.

    ambient: how much light comes from all sides. hardness: 0 for soft light, 1 for hard light.
    """

    towards: Floats
    color: Floats
    ambient: float
    hardness: float


def random_light(rng: np.random.Generator) -> _Light:
    """A random sun or lamp, above and in front of the apple."""
    towards = np.array([rng.normal(0, 0.6), rng.uniform(0.1, 1), rng.uniform(0.35, 1)], np.float32)
    warmth = rng.normal(0, 0.07)
    return _Light(
        towards=np.asarray(towards / np.linalg.norm(towards), np.float32),
        color=np.array([1 + warmth, 1, 1 - warmth], np.float32) * np.float32(rng.uniform(0.85, 1.25)),
        ambient=rng.uniform(0.22, 0.5),
        hardness=rng.uniform(0.1, 0.8),
    )


def lit_skin(rng: np.random.Generator, skin: Skin, surface: Surface, light: _Light, backdrop: Floats) -> Floats:
    """Linear light `[N, 3]` that the skin sends to the camera."""
    normal = _bumped(surface, skin.height)
    facing = normal @ light.towards
    wrap = 0.5 - 0.4 * light.hardness
    direct = np.clip((facing + wrap) / (1 + wrap), 0, 1)[:, None] * light.color
    sky = (0.65 + 0.35 * normal[:, 1])[:, None] * light.ambient
    bounce = np.clip(-normal[:, 1], 0, 1)[:, None] * backdrop.mean(axis=(0, 1)) * 0.5
    hollow = _hollow(surface)
    body = skin.color * (direct + sky + bounce) * hollow[:, None]
    half = light.towards + np.array([0, 0, 1], np.float32)
    mirror = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1)
    tight = rng.uniform(18, 90)
    gleam = skin.shine * (0.5 * light.hardness + 0.15) * mirror**tight + skin.shine * 0.08 * mirror**6
    if happens(rng, 0.35):
        gleam = gleam + 0.35 * skin.shine * _window(rng, normal)
    rim = 0.08 * skin.shine * (1 - np.clip(normal[:, 2], 0, 1)) ** 3
    return np.asarray(body + (gleam * hollow)[:, None] * light.color + rim[:, None])


def _bumped(surface: Surface, height: Floats) -> Floats:
    """The normals, tilted by the slope of `height` (in apple radii) as the camera sees it."""
    relief = surface.spread(height) * 60
    down, right = (np.asarray(slope) for slope in np.gradient(relief))
    solid = np.clip(surface.normal[:, 2], 0, 1) * surface.alpha
    normal = surface.normal.copy()
    normal[:, 0] -= surface.under(right) * solid
    normal[:, 1] += surface.under(down) * solid
    return normal / length_of(normal)[:, None]


def _hollow(surface: Surface) -> Floats:
    """How much light reaches each place, `[N]`: less in the dimples, where the surface is near the middle."""
    far = length_of(surface.place)
    return 0.25 + 0.75 * smooth_step(far, 0.45, 0.86)


def _window(rng: np.random.Generator, normal: Floats) -> Floats:
    """The reflection of a window or of a studio lamp, `[N]`."""
    x, y, wide, tall = rng.uniform(-0.5, 0.5), rng.uniform(0.15, 0.55), rng.uniform(0.06, 0.16), rng.uniform(0.08, 0.2)
    across = smooth_step(np.abs(normal[:, 0] - x), wide, wide * 0.8)
    return (
        across
        * smooth_step(np.abs(normal[:, 1] - y), tall, tall * 0.8)
        * smooth_step(np.abs(normal[:, 0] - x), 0.0, 0.012)
    )


# --- what is around the apple --------------------------------------------------------------------------------------


def _wood(rng: np.random.Generator) -> Floats:
    tone = random_shade(rng, (96, 62, 34), (206, 168, 124))
    across = np.linspace(0, rng.uniform(2, 7), SIDE, dtype=np.float32)[:, None] + rng.random()
    boards = rng.normal(1, 0.12, 16).astype(np.float32)[np.floor(across).astype(np.intp)]
    seam = smooth_step(np.abs(across - np.round(across)), 0.0, 0.025)
    grain = 0.1 * smooth_noise(rng, 96, 2, stretch=20) + 0.08 * smooth_noise(rng, 8, 3, stretch=4)
    picture = tone * (boards * (0.35 + 0.65 * seam) * (1 + grain))[..., None]
    return np.swapaxes(picture, 0, 1) if happens(rng, 0.5) else picture


def _cloth(rng: np.random.Generator) -> Floats:
    dyes = ((236, 230, 218), (150, 52, 48), (52, 78, 120), (70, 96, 74), (44, 44, 48), (196, 176, 140), (120, 84, 60))
    tones = [random_shade(rng, dyes[i], (224, 220, 210)) for i in rng.integers(len(dyes), size=2)]
    row, column = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    pitch, angle = rng.uniform(10, 60), rng.uniform(0, math.pi)
    bands = [
        np.sin((row * math.sin(a) + column * math.cos(a)) / pitch * 2 * math.pi) > 0.3 for a in (angle, angle + 1.57)
    ]
    pattern = (bands[0].astype(np.float32) + bands[1]) / 2 * float(rng.integers(2)) * rng.uniform(0.3, 1)
    weave = 0.04 * (np.sin(row * 1.7) + np.sin(column * 1.7)) + 0.04 * smooth_noise(rng, 128)
    folds = 0.14 * smooth_noise(rng, 3, 2)
    return np.asarray(blended(tones[0], tones[1], pattern) * (1 + weave + folds)[..., None])


def _studio(rng: np.random.Generator) -> Floats:
    top, bottom = random_shade(rng, (60, 66, 74), (248, 246, 240)), random_shade(rng, (96, 86, 76), (244, 242, 236))
    down = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None]
    horizon = rng.uniform(0.2, 0.7)
    mask = smooth_step(down, horizon - 0.05, horizon + rng.uniform(0.02, 0.4)) + np.zeros((1, SIDE), np.float32)
    return blended(top, bottom, mask) * (1 + 0.05 * smooth_noise(rng, 3, 2))[..., None]


def _foliage(rng: np.random.Generator) -> Floats:
    """Leaves, branches and sky, far out of focus."""
    canvas = Image.new("RGB", (128, 128), (52, 74, 34))
    draw = ImageDraw.Draw(canvas)
    for _ in range(70):
        x, y, wide, tall = *rng.uniform(-10, 138, 2), *rng.uniform(4, 18, 2)
        leaf = (
            random_shade(rng, (34, 58, 20), (150, 184, 84))
            if happens(rng, 0.75)
            else random_shade(rng, (74, 54, 36), (228, 230, 220))
        )
        draw.ellipse((x - wide, y - tall, x + wide, y + tall), fill=tuple(int(255 * c) for c in leaf))
    canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 6))).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(canvas, np.float32) / 255


def _crate(rng: np.random.Generator) -> Floats:
    """Slats with dark gaps, and other apples behind them out of focus."""
    slats = _wood(rng) * rng.uniform(0.5, 1)
    canvas = Image.fromarray((np.clip(slats, 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(2, 7)):
        (x, y), size = rng.uniform(0, SIDE, 2), rng.uniform(35, 75)
        tone = 255 * random_shade(rng, (140, 26, 26), (214, 196, 84)) * rng.uniform(0.4, 1)
        for ring in range(6):
            part = size * (1 - ring / 7)
            fill = tuple(int(c) for c in tone * (0.6 + 0.09 * ring))
            x, y = x + rng.uniform(-2, 2), y - 0.05 * size
            draw.ellipse((x - part, y - part, x + part, y + part), fill=fill)
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(2, 6))), np.float32) / 255


def _earth(rng: np.random.Generator) -> Floats:
    """Soil, straw, gravel or stone: two tones in rough patches."""
    dark, pale = random_shade(rng, (50, 38, 26), (128, 122, 112)), random_shade(rng, (124, 100, 68), (206, 198, 182))
    coarse, fine = smooth_noise(rng, int(rng.integers(4, 30)), 3, stretch=rng.uniform(1, 4)), smooth_noise(rng, 90, 2)
    return blended(dark, pale, smooth_step(coarse + fine, -2.8, 2.8))


_BACKDROPS = (_wood, _cloth, _studio, _foliage, _crate, _earth)


def random_backdrop(rng: np.random.Generator) -> Floats:
    """One of the backgrounds, somewhat out of focus: linear light `[256, 256, 3]`."""
    drawn = _BACKDROPS[rng.integers(len(_BACKDROPS))](rng)
    picture = Image.fromarray((np.clip(drawn, 0, 1) * 255).astype(np.uint8))
    picture = picture.filter(ImageFilter.BoxBlur(max(0.0, rng.uniform(-1, 2))))
    return np.asarray(LINEAR[np.asarray(picture)])


def composed(rng: np.random.Generator, backdrop: Floats, surface: Surface, lit: Floats, light: _Light) -> Floats:
    """The apple in front of its background, with its shadow: linear light `[256, 256, 3]`."""
    alpha = surface.spread(surface.alpha)
    lean = -light.towards[:2] * surface.pose.radius * rng.uniform(0.25, 0.6)
    cast = moved(alpha, 0.1 * surface.pose.radius - 0.4 * lean[1], lean[0])
    near = moved(alpha, 0.06 * surface.pose.radius, 0)
    dark = 0.6 * light.hardness * softened(cast, surface.pose.radius * 0.12) + 0.4 * softened(
        near, surface.pose.radius * 0.08
    )
    picture = backdrop * (1 - np.clip(dark, 0, 0.9))[..., None] * (0.6 + 0.4 * light.color)
    return blended(picture, surface.spread(lit), alpha)


def with_stem_and_leaf(rng: np.random.Generator, picture: Floats, surface: Surface, light: _Light) -> Floats:
    """The picture with a stem, where the apple does not hide it, and sometimes a leaf. Some apples have no stem."""
    shape, pose = surface.shape, surface.pose
    if happens(rng, 0.12):
        return picture
    foot = shape.point(np.array([0, 1, 0], np.float32)) - np.array([0, 0.05, 0], np.float32)
    bend, length = rng.normal(0, 0.16, 2), rng.uniform(0.25, 0.7)
    t = np.linspace(0, 1, 28, dtype=np.float32)[:, None]
    path = foot + t * np.array([0, length, 0], np.float32) + t**2 * np.array([bend[0], 0, bend[1]], np.float32)
    points = pose.pixels(path.astype(np.float32))
    depth = surface.spread(surface.near + 9)
    thick = rng.uniform(0.02, 0.038) * pose.radius

    def visible(column: float, row: float, near: float) -> bool:
        r, c = min(max(int(row), 0), SIDE - 1), min(max(int(column), 0), SIDE - 1)
        return bool(near + 9 > depth[r, c] - 0.03)

    def stem(draw: ImageDraw.ImageDraw, scale: float, shift: float) -> None:
        for i, (column, row, near) in enumerate(points.tolist()):
            if visible(column, row, near):
                wide = 2 * thick * scale * (1.25 - 0.5 * min(i, 18) / 18 + (0.5 if i > 25 else 0))
                x, y = 2 * column + shift * thick, 2 * row
                draw.ellipse((x - wide, y - wide, x + wide, y + wide), fill=255)

    brown = random_shade(rng, (58, 40, 20), (120, 96, 50)) ** 2.2
    side = float(np.sign(light.towards[0])) * 0.7
    picture = blended(picture, brown * 0.45, painted(lambda draw: stem(draw, 1, 0)))
    picture = blended(picture, brown * 1.3, painted(lambda draw: stem(draw, 0.5, side)) * 0.8)
    return _with_leaf(rng, picture, points[14], pose, light) if happens(rng, 0.25) else picture


def _with_leaf(rng: np.random.Generator, picture: Floats, root: Floats, pose: Pose, light: _Light) -> Floats:
    """The picture with a green leaf on the stem, and the leaf's shadow."""
    angle, long, wide = rng.uniform(0, 2 * math.pi), pose.radius * rng.uniform(0.6, 1.0), rng.uniform(0.15, 0.3)
    t = np.linspace(0, 1, 24)
    bow = rng.uniform(-0.25, 0.25) * np.sin(math.pi * t)
    half = wide * np.sin(math.pi * t**0.8) ** 0.9
    ahead, aside = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])

    def outline(offset: Floats) -> Floats:
        return np.asarray(2 * (root[:2] + long * (t[:, None] * ahead + offset[:, None] * aside)))

    edge = np.concatenate([outline(bow + half), outline(bow - half)[::-1]])
    mask = painted(lambda draw: draw.polygon([tuple(p) for p in edge.tolist()], fill=255))
    vein = painted(lambda draw: draw.line([tuple(p) for p in outline(bow).tolist()], fill=255, width=3))
    lower = painted(
        lambda draw: draw.polygon([tuple(p) for p in np.concatenate([outline(bow), edge[24:]]).tolist()], fill=255)
    )
    green = random_shade(rng, (52, 84, 28), (120, 150, 60)) ** 2.2 * (1 + 0.12 * smooth_noise(rng, 14, 3))[..., None]
    shadow = softened(moved(mask, 0.1 * pose.radius, -0.12 * pose.radius * light.towards[0]), 4) * 0.5 * light.hardness
    picture = picture * (1 - shadow)[..., None]
    picture = blended(picture, green * light.color, mask)
    picture = blended(picture, green * 0.55, lower * 0.8)
    return blended(picture, green * 1.7, vein * 0.6)


def dappled(rng: np.random.Generator, picture: Floats) -> Floats:
    """The picture, sometimes with soft shadows of leaves over the whole scene, on apple and background alike."""
    if not happens(rng, 0.14):
        return picture
    shade = smooth_step(smooth_noise(rng, int(rng.integers(3, 7)), 2), 0.0, rng.uniform(0.8, 2.0))
    return picture * (1 - rng.uniform(0.25, 0.5) * shade)[..., None]


# --- the camera ----------------------------------------------------------------------------------------------------


def _bytes(picture: Floats) -> Image.Image:
    """A picture of linear light as sRGB; highlights are compressed rather than clipped."""
    step = (np.sqrt(np.clip(picture, 0, 3.9)) * TONE_STEPS).astype(np.intp)
    return Image.fromarray(TONES[step])


def photographed(rng: np.random.Generator, picture: Floats) -> npt.NDArray[np.uint8]:
    """The picture with random exposure, white balance, focus and noise, sometimes as JPEG: uint8 `[256, 256, 3]`."""
    balance = np.exp(rng.normal(0, 0.07, 3) + rng.normal(0, 0.16)).astype(np.float32)
    photo = _bytes(picture * balance)
    photo = photo.filter(ImageFilter.GaussianBlur(float(rng.choice([0.4, 0.7, 1.1, 1.7], p=[0.45, 0.3, 0.17, 0.08]))))
    grain = rng.standard_normal((SIDE, SIDE, 3), np.float32) * np.float32(rng.uniform(0.5, 5))
    pixels = np.clip(np.asarray(photo, np.float32) + grain + 0.5, 0, 255).astype(np.uint8)
    if happens(rng, 0.4):
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, format="JPEG", quality=int(rng.integers(60, 95)))
        return np.asarray(Image.open(stored), np.uint8)
    return pixels
