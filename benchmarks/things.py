"""How well things photographed several times are found where names don't tell, and how honest figures become.

    python benchmarks/things.py ../shared/data --features /somewhere/with/room --out benchmarks/things.json
    python benchmarks/things.py ../shared/data --features /somewhere/with/room --out benchmarks/things.json --table

Sets whose groups are known, and hidden from kt:

* apples: frames of turning apples; half of the 27 apples are known, the others were never seen.
* leaves: apple leaves, each photographed several times; test holds other leaves. Their names have running numbers.
* bursts: shots of pieces of clothing, made from one photo each (shifted, turned, other light, noise, JPEG): six of 120
  pieces, two of 300, or six of 60 and one of 240. hard bursts: the same with half the light, crops of 70%, and turns of
  up to 20 degrees. The five largest of the ten classes.
* overlapping, adjacent: crops of one bean leaf, that overlap at random, or that do not.
* surfaces: ground tiles drawn by this program, each with grain and stains of its own, of which the class shows a faint
  crack, hole, uneven patch or nothing; six exposures of each in grey. moved: with other crops and turns, too.
* cloth, leaf tissue: the middle of a photo of clothing or of a bean leaf in grey, under six lights, a little moved.
* leaf_shots: as hard bursts, of bean leaves.

For each: the pairs that are found, the cross-validated balanced accuracy of a probe as it is, with the groups found and
with the true groups, and the accuracy on pictures of things never seen. Then, how often sets without groups are said to
have some. Features of MobileNetV2, 160 pixels: all depths to find groups, the top for the probe.
"""

import argparse
import io
import json
import re
from itertools import product
from math import comb
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageEnhance

from kt import Classifier, LinearProbe, Recipe, linear
from kt.checkup.apart import _answers, held_apart
from kt.checkup.things import find_things, share_with_partner
from kt.data import Folder
from kt.freeze import NOTHING
from kt.frozen.cut import encoder, find_cut
from kt.frozen.encode import encoder_for
from kt.heads.classification.measure import balanced_accuracy
from kt.kinds.pictures.kind import Pictures
from kt.network.model import build
from kt.recipe import ALL

SIZE, BATCH, TOP = 160, 32, 1280
SEEDS, DRAWS = range(1, 4), 10  # the limits of `kt.checkup.things` were chosen on draw 0
LARGEST = 5

# Leaves of the class scab by the first number of each, from the leaf groups of the set's source: numbers 2907 to 3021.
SCAB = (
    2907, 2912, 2916, 2920, 2925, 2930, 2936, 2940, 2945, 2949, 2954, 2960, 2966, 2971, 2976, 2982, 2988, 2995, 3002,
    3009, 3015, 3022,
)  # fmt: skip


def files(root, every=1):
    """Part, class and file of each picture of a set."""
    found = []
    for part in ("train", "test"):
        for label in sorted(folder.name for folder in (root / part).iterdir() if folder.is_dir()):
            found += [(part, label, file) for file in sorted((root / part / label).iterdir())]
    return found[::every]


def shot(picture, random, *, light=0.15, crop=0.12, turn=4, noise=6):
    """One more shot of the same scene, as if by hand."""
    width, height = picture.size
    turned = picture.rotate(random.uniform(-turn, turn), Image.BILINEAR)
    share = 1 - crop + random.uniform(-crop / 2, crop / 2)
    wide, high = width * share, height * share
    left, top = random.uniform(0, width - wide), random.uniform(0, height - high)
    moved = turned.transform((width, height), Image.EXTENT, (left, top, left + wide, top + high), Image.BILINEAR)
    moved = ImageEnhance.Brightness(moved).enhance(random.uniform(1 - light, 1 + light))
    moved = ImageEnhance.Contrast(moved).enhance(random.uniform(1 - light / 2, 1 + light / 2))
    pixels = np.asarray(moved, np.float32) + random.normal(0, noise, (height, width, 3)) * random.uniform(0.3, 1)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(
        stored := io.BytesIO(), "JPEG", quality=int(random.integers(70, 95))
    )
    return Image.open(stored)


def overlapping(picture, _, random):
    """A crop of 55% of the sides."""
    width, height = picture.size
    left, top = random.uniform(0, width * 0.45), random.uniform(0, height * 0.45)
    return shot(picture.crop((left, top, left + 0.55 * width, top + 0.55 * height)), random, crop=0.02)


def adjacent(picture, place, random):
    """One of 2 x 3 parts."""
    width, height = picture.size
    column, row = place % 3, place // 3
    box = (width * column // 3, height * row // 2, width * (column + 1) // 3, height * (row + 1) // 2)
    return shot(picture.crop(box), random, crop=0.02)


def exposed(picture, random, *, crop=0.0, turn=0):
    """The same surface under other light, in grey: exposure, gamma, a lamp on one side, noise, JPEG."""
    width, height = picture.size
    grey = picture.convert("L").rotate(random.uniform(-turn, turn), Image.BILINEAR)
    share = 1 - crop * random.uniform(0.5, 1.5)
    left, top = random.uniform(0, width * (1 - share)), random.uniform(0, height * (1 - share))
    box = (left, top, left + share * width, top + share * height)
    level = np.asarray(grey.transform((width, height), Image.EXTENT, box, Image.BILINEAR), np.float32) / 255
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    angle = random.uniform(0, 2 * np.pi)
    lamp = 1 + random.uniform(0, 0.35) * (across * np.cos(angle) + down * np.sin(angle))
    lit = random.uniform(0.5, 1.3) * level ** random.uniform(0.7, 1.4) * lamp + random.normal(0, 0.015, level.shape)
    stored = io.BytesIO()
    grey = Image.fromarray((np.clip(lit, 0, 1) * 255).astype(np.uint8))
    grey.save(stored, "JPEG", quality=int(random.integers(70, 95)))
    return Image.open(stored)


def surface(label, random):
    """A ground surface with grain, stains and direction of its own; a faint defect is all that the class shows."""
    side, places = SIZE, np.arange(SIZE)
    field = np.zeros((side, side))
    angle, long = random.uniform(0, np.pi), random.uniform(1, 6)
    scales = random.uniform(0.8, 2.5), random.uniform(6, 12), random.uniform(25, 50)
    for scale, weight in zip(scales, (0.05, 0.06, 0.08), strict=True):
        across, down = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))
        along, aside = across * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - across * np.sin(angle)
        blur = np.exp(-2 * (np.pi * scale) ** 2 * (long * along**2 + aside**2))
        grain = np.fft.ifft2(np.fft.fft2(random.normal(size=(side, side))) * blur).real
        field += weight * random.uniform(0.4, 1.6) * grain / grain.std()
    field += random.uniform(0.35, 0.65)
    across, down = np.meshgrid(places, places)
    x, y = random.uniform(0.2, 0.8, 2) * side
    away = np.hypot(across - x, down - y)
    if label == "hole":
        field -= random.uniform(0.1, 0.25) * np.exp(-((away / random.uniform(3, 7)) ** 2))
    if label == "crack":
        turned, bend = random.uniform(0, np.pi), random.normal(0, 1.5, 4)
        along, aside = ((across - x) * np.cos(turned) + (down - y) * np.sin(turned),
                        (down - y) * np.cos(turned) - (across - x) * np.sin(turned))  # fmt: skip
        aside = aside + sum(each * np.sin(along / 12 * (n + 1)) for n, each in enumerate(bend))
        inside = np.exp(-((along / random.uniform(25, 45)) ** 4))
        field -= random.uniform(0.1, 0.25) * np.exp(-((aside / random.uniform(1, 2)) ** 2)) * inside
    if label == "uneven":
        field += random.choice([-1, 1]) * random.uniform(0.06, 0.14) / (1 + np.exp((away - random.uniform(25, 45)) / 4))
    return Image.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))


MIDDLE, SURFACES, DEFECTS = 0.45, 620, ("none", "none", "crack", "hole", "uneven")


def middle(picture):
    """The middle of a photo, which shows hardly more than the texture of a thing."""
    width, height = picture.size
    left, top = (1 - MIDDLE) / 2 * width, (1 - MIDDLE) / 2 * height
    return picture.crop((left, top, width - left, height - top))


MADE = {
    "bursts": ("clothing", 1, 1, lambda picture, _, random: shot(picture, random)),
    "hard_bursts": (
        "clothing", 3, 2, lambda picture, _, random: shot(picture, random, light=0.5, crop=0.3, turn=20, noise=12),
    ),
    "tiles_overlapping": ("bean_leaves", 2, 3, overlapping),
    "tiles_adjacent": ("bean_leaves", 2, 3, adjacent),
    "surfaces": ("", 1, 4, lambda picture, _, random: exposed(picture, random)),
    "surfaces_moved": ("", 1, 5, lambda picture, _, random: exposed(picture, random, crop=0.2, turn=10)),
    "cloth": ("clothing", 1, 6, lambda picture, _, random: exposed(middle(picture), random, crop=0.1, turn=4)),
    "leaf_tissue": (
        "bean_leaves", 1, 7, lambda picture, _, random: exposed(middle(picture), random, crop=0.2, turn=10),
    ),
    "leaf_shots": (
        "bean_leaves", 2, 8, lambda picture, _, random: shot(picture, random, light=0.5, crop=0.3, turn=20, noise=12),
    ),
}  # fmt: skip
"""The set that each is made from, which photos (every first, second, third), the seed, and how a shot is made. Surfaces
are made from nothing."""


def scenes(root, name):
    """Class and picture of each thing of a set that is made."""
    source, every, seed, _ = MADE[name]
    if source:
        for _, label, file in files(root / source, every):
            yield label, Image.open(file).convert("RGB")
    else:
        random = np.random.default_rng(seed)
        for number in range(SURFACES):
            label = DEFECTS[number % len(DEFECTS)]
            yield label, surface(label, random)


def pictures_of(root, name):
    """Picture, name, class and thing of each example."""
    if name in MADE:
        _, _, seed, make = MADE[name]
        random = np.random.default_rng(seed)
        for number, (label, picture) in enumerate(scenes(root, name)):
            for place in range(6):
                yield make(picture, place, random), f"{number}_{place}", label, str(number)
    else:
        for part, label, file in files(root / name):
            thing = file.name.split("__")[0] if name == "apples" else ""
            yield Image.open(file), f"{part}/{label}/{file.name}", label, thing


def features_of(root, name, kept):
    """Features of all depths `[N, D]`, names, classes and things; kept in a file, since they take minutes."""
    file = kept / f"{name}.npz"
    if not file.exists():
        recipe = Recipe(
            data=Folder(root / "clothing"), backbone=keras.applications.MobileNetV2, head=Classifier(dropout=0.0),
            phases=[LinearProbe(features=ALL)],
        )  # fmt: skip
        built = build(recipe, kind=Pictures((SIZE, SIZE)), num_classes=2)
        recipe.phases[0].trainable(built.backbone)
        model = encoder(built, [find_cut(built, NOTHING)])
        compute, _ = encoder_for(model, pictures=10_000, probe=np.zeros((BATCH, SIZE, SIZE, 3), np.uint8))
        rows, told, batch = [], [], []

        def encode():
            filled = np.stack(batch + batch[-1:] * (BATCH - len(batch)))
            rows.append(np.concatenate([np.asarray(part).reshape(BATCH, -1) for part in compute(filled)], axis=1))
            rows[-1] = rows[-1][: len(batch)]
            batch.clear()

        for picture, *about in pictures_of(root, name):
            batch.append(np.asarray(picture.convert("RGB").resize((SIZE, SIZE), Image.BILINEAR)))
            told.append(about)
            if len(batch) == BATCH:
                encode()
        if batch:
            encode()
        names, labels, things = (np.array(column) for column in zip(*told, strict=True))
        np.savez(file, rows=np.concatenate(rows).astype(np.float16), names=names, labels=labels, things=things)
    with np.load(file) as stored:
        return {key: stored[key] for key in ("rows", "names", "labels", "things")}


def pairs_found(found, true):
    """Precision and recall of pairs of pictures of one thing."""
    counted = [
        sum(comb(int(size), 2) for size in np.unique(each, return_counts=True, axis=-1)[1])
        for each in (np.stack([found, true]), found, true)
    ]
    return counted[0] / counted[1] if counted[1] else None, counted[0] / counted[2] if counted[2] else None


def measured(name, data, train, unseen, *, seed, names=None, true=None):
    """One row: what is found, and four balanced accuracies."""
    labels = np.unique(data["labels"], return_inverse=True)[1]
    classes, top = int(labels.max()) + 1, data["rows"][:, -TOP:].astype(np.float32)
    own = data["rows"][train].astype(np.float32)
    things = find_things(own, labels[train], names=names, seed=seed)
    apart = held_apart(top[train], labels[train], things, classes=classes, seed=seed)
    probe = linear.fit(
        top[train], labels[train], classes=classes, balanced=True, seed=seed, groups=things.numbers.astype(str).tolist()
    )
    truth = balanced_accuracy(labels[unseen], probe.scores(top[unseen]).argmax(axis=1), classes=classes)
    row = {
        "set": name, "seed": seed, "pictures": len(train), "by": things.by, "share": things.share,
        "share_by_top": share_with_partner(top[train], labels[train]),
        "split": apart.split.value, "whole": apart.whole.value, "whole_interval": apart.whole.interval,
        "cautious": apart.cautious, "fall": apart.fall.value, "fall_interval": apart.fall.interval, "unseen": truth,
        "groups": apart.groups, "things_found": apart.things,
    }  # fmt: skip
    if true is not None:
        numbers = np.unique(true, return_inverse=True)[1]
        row["precision"], row["recall"] = pairs_found(things.numbers, numbers)
        row["things"] = int(numbers.max()) + 1
        told = _answers(
            top[train].astype(np.float64), labels[train], numbers.astype(str).tolist(), classes=classes, keep=(1.0,),
            balanced=True, seed=seed,
        )  # fmt: skip
        row["whole_true"] = balanced_accuracy(labels[train], told, classes=classes)
    return row


def made_rows(name, data, seed, ways):
    """Rows of a set that was made: six shots, two shots, or a mixture; of the `LARGEST` classes, for firm figures."""
    kept, counts = np.unique(data["labels"], return_counts=True)
    among = np.flatnonzero(np.isin(data["labels"], kept[np.argsort(-counts, kind="stable")[:LARGEST]]))
    data = {key: values[among] for key, values in data.items()}
    thing = data["things"].astype(int)
    place = np.array([int(each.split("_")[1]) for each in data["names"]])
    order = np.random.default_rng(seed).permutation(np.unique(thing))
    unseen = np.flatnonzero(np.isin(thing, order[300:800]))
    for way, train in {
        "six": np.isin(thing, order[:120]),
        "two": np.isin(thing, order[:300]) & (place < 2),
        "mixed": np.isin(thing, order[:60]) | (np.isin(thing, order[60:300]) & (place < 1)),
    }.items():
        if way in ways and (way == "six" or name != "tiles_adjacent"):
            chosen = np.flatnonzero(train)
            yield measured(f"{name}, {way}", data, chosen, unseen, seed=seed, true=thing[chosen])


def apple_rows(data, seed):
    """Rows of apples: names that tell nothing, and names with running numbers in the order of filming."""
    random = np.random.default_rng(seed)
    known = []
    for label in np.unique(data["labels"]):
        things = random.permutation(np.unique(data["things"][data["labels"] == label]))
        known += things[: (len(things) + 1) // 2].tolist()
    inside = np.isin(data["things"], known)
    train, unseen = np.flatnonzero(inside), np.flatnonzero(~inside)
    true = np.unique(data["things"][train], return_inverse=True)[1]

    def filmed(place):
        turn, number = re.search(r"__(?:(r\d*)_)?(\d+)", data["names"][place]).groups()
        return data["things"][place], turn or "", int(number)

    order = sorted(train.tolist(), key=filmed)
    numbers = {place: number for number, place in enumerate(order)}
    names = [f"{data['labels'][place]}/img_{numbers[place]:05}.jpg" for place in train]
    yield measured("apples", data, train, unseen, seed=seed, true=true)
    yield measured("apples, running numbers", data, train, unseen, seed=seed, true=true, names=names)


def leaf_rows(data, seed):
    """Rows of leaves, of the leaves that train holds: without names, and with them. The true groups are known of 21."""
    number = np.array([int(re.search(r"_(\d+)\.JPG$", name)[1]) for name in data["names"]])
    inside = np.char.startswith(data["names"], "train")
    runs = np.array([f"{label}{each // 20}" for label, each in zip(data["labels"], number, strict=True)])
    chosen = np.random.default_rng(seed).permutation(np.unique(runs))[: len(np.unique(runs)) // 4]
    train, unseen = np.flatnonzero(inside & np.isin(runs, chosen)), np.flatnonzero(~inside)
    for way, names in (("leaves", None), ("leaves, their own names", data["names"][train].tolist())):
        row = measured(way, data, train, unseen, seed=seed, names=names)
        yield row


def scab_row(data):
    """The pairs found among the scab leaves whose groups are known, by what all leaves' names and features say."""
    labels = np.unique(data["labels"], return_inverse=True)[1]
    rows = data["rows"].astype(np.float32)
    for way, names in (("leaves", None), ("leaves, their own names", data["names"].tolist())):
        things = find_things(rows, labels, names=names)
        number = np.array([int(found[1]) if (found := re.search(r"Scab_(\d+)", name)) else 0 for name in data["names"]])
        some = (number >= SCAB[0]) & (number < SCAB[-1])
        precision, recall = pairs_found(things.numbers[some], np.searchsorted(SCAB, number[some], side="right"))
        yield {"set": f"{way}: 21 known leaves", "seed": SEEDS[0], "pictures": int(some.sum()), "by": things.by,
               "precision": precision, "recall": recall}  # fmt: skip


def alarms(root, kept, sets=("clothing", "bean_leaves", *MADE)):
    """Sets in which each picture shows a thing of its own: how many of them are said to have groups."""
    for name in sets:
        data = features_of(root, name, kept)
        labels = np.unique(data["labels"], return_inverse=True)[1]
        alone = np.array([int(each.split("_")[1]) == 0 for each in data["names"]]) if name in MADE else labels >= 0
        for number in (100, 300, 600, None):
            for seed in range(DRAWS if number else 1):
                places = np.flatnonzero(alone)
                if number and number > len(places):
                    continue
                if number:
                    places = np.sort(np.random.default_rng(seed).permutation(places)[:number])
                rows, own = data["rows"][places].astype(np.float32), np.unique(labels[places], return_inverse=True)[1]
                names = data["names"][places].tolist() if name not in MADE else None
                things = find_things(rows, own, names=names, seed=seed)
                yield {"set": name, "pictures": len(places), "seed": seed, "by": things.by, "share": things.share,
                       "share_by_all": share_with_partner(rows, own),
                       "share_by_top": share_with_partner(rows[:, -TOP:], own)}  # fmt: skip


def table(told):
    """Markdown."""
    print("| set | pictures | things | pairs: precision | recall | cross-validation | with groups found | with true "
          "groups | things never seen | error before | error now |")  # fmt: skip
    print("|---" * 11 + "|")
    for name in dict.fromkeys(row["set"] for row in told["rows"]):
        own = [row for row in told["rows"] if row["set"] == name]

        def mean(key, own=own):
            values = [row[key] for row in own if row.get(key) is not None]
            return f"{np.mean(values):.2f}" if values else "-"

        before, now = (
            [100 * (row[key] - row["unseen"]) for row in own if "unseen" in row] for key in ("split", "whole")
        )
        errors = []
        for each in (before, now):
            drawn = f" ({min(each):+.1f} to {max(each):+.1f})" if len(each) > 1 else ""
            errors.append(f"{np.mean(each):+.1f}{drawn}" if each else "-")
        things = round(np.mean([row["things"] for row in own])) if "things" in own[0] else "-"
        print(f"| {name} | {round(np.mean([row['pictures'] for row in own])):,} | {things} | {mean('precision')} | "
              f"{mean('recall')} | {mean('split')} | {mean('whole')} | {mean('whole_true')} | {mean('unseen')} | "
              f"{' | '.join(errors)} |")  # fmt: skip
    print("\n| set without groups | sets | said to have groups | largest share with a partner: all depths | top |")
    print("|---|---|---|---|---|")
    for name in dict.fromkeys(row["set"] for row in told["alarms"]):
        own = [row for row in told["alarms"] if row["set"] == name]
        shares = " | ".join(f"{max(row[key] for row in own):.3f}" for key in ("share_by_all", "share_by_top"))
        print(f"| {name} | {len(own)} | {sum(bool(row['by']) for row in own)} | {shares} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=[*MADE, "apples", "apple_leaves"])
    parser.add_argument("--ways", nargs="+", default=["six", "two", "mixed"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[*SEEDS])
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    told = json.loads(given.out.read_text()) if given.out.exists() else {"rows": [], "alarms": []}
    if not given.table:
        for seed, name in product(given.seeds, given.sets):
            data = features_of(given.root, name, given.features)
            made = {"apples": apple_rows, "apple_leaves": leaf_rows}.get(name)
            for fresh in made(data, seed) if made else made_rows(name, data, seed, given.ways):
                told["rows"] = [row for row in told["rows"] if (row["set"], row["seed"]) != (fresh["set"], seed)]
                told["rows"].append({"made_of": name, **fresh})
                given.out.write_text(json.dumps(told, indent=1) + "\n")
                print(fresh["set"], seed, flush=True)
        if "apple_leaves" in given.sets:
            told["rows"] += [
                {"made_of": "apple_leaves", **row}
                for row in scab_row(features_of(given.root, "apple_leaves", given.features))
            ]
        alone = [
            name for name in (*given.sets, "clothing", "bean_leaves") if name in ("clothing", "bean_leaves", *MADE)
        ]
        told["alarms"] = [row for row in told["alarms"] if row["set"] not in alone]
        told["alarms"] += alarms(given.root, given.features, alone)
        given.out.write_text(json.dumps(told, indent=1) + "\n")
    table(told)


if __name__ == "__main__":
    main()
