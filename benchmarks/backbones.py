"""Whether another backbone than the default can be chosen honestly, from the training pictures alone.

    python benchmarks/backbones.py ../shared/data --work DIR features
    python benchmarks/backbones.py ../shared/data --work DIR probes
    python benchmarks/backbones.py ../shared/data --work DIR rules

`features` makes the sets in DIR and keeps frozen features of all depths of each backbone at its natural size. `probes`
draws small training sets, fits the default probe of `kt new` on each backbone's features, cross-validates it on the
training pictures in whole groups, and measures it on the test pictures. `rules` lets each rule choose a backbone from
what cross-validation says, and judges it by the test pictures: its gain over always the default, and how often it
loses. A rule's strictness is chosen on all sets but those of one family, and judged on these.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

BACKBONES = {"MobileNetV2": 224, "EfficientNetLite0": 224, "EfficientNetLite2": 260}
DEFAULT = "MobileNetV2"
TRAIN, TEST = 320, 300
"""The most pictures of a set that features are computed for."""

OUT = Path(__file__).with_suffix(".json")


# ----------------------------------------------------------------------------------------------------------- the sets


def grey(picture):
    """Without colour."""
    return picture.convert("L").convert("RGB")


def photos(name, change=None):
    """A set of the folder, or what a change makes of it."""

    def make(root, folder):
        for part, most in (("train", TRAIN), ("test", TEST)):
            classes = sorted(path for path in (root / name / part).iterdir() if path.is_dir())
            found = {path.name: sorted(path.iterdir()) for path in classes}
            share = min(1.0, most / sum(map(len, found.values())))
            for label, files in found.items():
                (folder / part / label).mkdir(parents=True)
                number = max(2, round(share * len(files)))
                for file in (files[place * len(files) // number] for place in range(min(number, len(files)))):
                    if change is None:
                        (folder / part / label / file.name).symlink_to(file.resolve())
                    else:
                        changed = change(Image.open(file).convert("RGB"))
                        changed.save(folder / part / label / f"{file.stem}.png")

    return make


def drawn(root, folder):  # noqa: ARG001
    """Apples as kt draws them; test has varieties that are not in train."""
    from kt.samples.apples.collection import apples

    for part in ("train", "test"):
        for apple in apples(part):
            (folder / part / apple.label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(apple.drawn(0)).save(folder / part / apple.label / f"{apple.index:04d}.png")


def digits(root, folder):  # noqa: ARG001
    """Written digits of scikit-learn, 8 x 8 pixels drawn large."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.images))
    for part, chosen in (("train", order[:TRAIN]), ("test", order[TRAIN : TRAIN + TEST])):
        for place in chosen:
            file = folder / part / str(found.target[place]) / f"{place:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray((found.images[place] * 255 / 16).astype(np.uint8))
            picture.resize((64, 64), Image.Resampling.BICUBIC).save(file)


SETS = {
    "bean_leaves": photos("bean_leaves"),
    "clothing": photos("clothing"),
    "apple_leaves": photos("apple_leaves"),
    "apples": photos("apples"),
    "drawn apples": drawn,
    "bean_leaves, grey": photos("bean_leaves", grey),
    "digits": digits,
    "clothing, grey": photos("clothing", grey),
}


def keep_features(root, work):
    """Compute what is missing, and keep it: a file a set and backbone."""
    from kt.base import backend

    backend.start()
    for name in SETS:
        folder = staged(name, root=root, work=work)
        for backbone in BACKBONES:
            file = work / f"{folder.name}-{backbone}.npz"
            if not file.exists():
                begun = time.perf_counter()
                number = write_features(file, folder, backbone)
                print(f"{name}, {backbone}: {number} pictures, {time.perf_counter() - begun:.0f} s", flush=True)


def staged(name, *, root, work):
    """The folder of a set, made once."""
    folder = work / "sets" / name.replace(", ", "_").replace(" ", "_")
    if not folder.exists():
        beside = folder.with_name(f".{folder.name}")
        SETS[name](root, beside)
        beside.rename(folder)
    return folder


def write_features(file, folder, backbone):
    """Features of a set's pictures, with labels, names and groups; the file is there when it is whole."""
    import keras

    from kt import backbones
    from kt.checkup.features import features_of, probe_network
    from kt.data import Folder

    size = BACKBONES[backbone]
    splits = Folder(folder, image_size=(size, size))()
    constructor = getattr(backbones, backbone, None) or getattr(keras.applications, backbone)
    built = probe_network(splits.kind, backbone=constructor, classes=len(splits.classes))
    parts = [splits.train, splits.validation, splits.test]
    rows = features_of(built, [part.examples for part in parts])
    np.savez(
        file.with_suffix(".part.npz"),
        rows=np.concatenate([part.all() for part in rows]).astype(np.float16),
        labels=np.concatenate([part.labels for part in parts]),
        names=np.array([each for part in parts for each in part.names]),
        groups=np.array([each for part in parts for each in part.groups]),
        test=np.repeat([False, False, True], [len(part) for part in parts]),
        classes=np.array(splits.classes),
    )
    file.with_suffix(".part.npz").rename(file)
    return sum(map(len, parts))


# --------------------------------------------------------------------------------------------------------- the probes


SIZES = {60: 4, 120: 4, 300: 2}
"""How many training pictures, and how many draws of them."""

TASKS = {
    **{name: (name, None) for name in SETS},
    "clothing, tops": ("clothing", ("longsleeve", "shirt", "t-shirt")),
    "bean_leaves, which illness": ("bean_leaves", ("angular_leaf_spot", "bean_rust")),
    "apple_leaves, scab or not": ("apple_leaves", ("healthy", "scab")),
}
"""What is learned: a set, and its classes; None for all."""

FAMILIES = {"clothing": "clothing", "bean": "bean leaves", "apple_leaves": "apple leaves", "digits": "digits",
            "apples": "apples", "drawn": "apples"}  # fmt: skip


def family(task):
    """What a set's pictures are of: a rule that is judged on them was not chosen on any of them."""
    return next(name for start, name in FAMILIES.items() if task.startswith(start))


def task_features(task, work):
    """Features, labels, groups and whether a picture is of test, of the pictures that all backbones have."""
    source, wanted = TASKS[task]
    files = {name: work / f"{source.replace(', ', '_').replace(' ', '_')}-{name}.npz" for name in BACKBONES}
    kept = {name: np.load(file) for name, file in files.items() if file.exists()}
    if DEFAULT not in kept or len(kept) < 2:
        return None
    names = sorted(set.intersection(*(set(each["names"].tolist()) for each in kept.values())))
    first = kept[DEFAULT]
    classes = first["classes"].tolist()
    rows = {}
    for name, each in kept.items():
        place = {file: number for number, file in enumerate(each["names"].tolist())}
        rows[name] = each["rows"][[place[file] for file in names]]
        if name == DEFAULT:
            chosen = [place[file] for file in names]
    labels, groups, test = (first[key][chosen] for key in ("labels", "groups", "test"))
    if wanted is not None:
        own = np.isin(labels, [classes.index(label) for label in wanted])
        rows = {name: each[own] for name, each in rows.items()}
        labels, groups, test = np.unique(labels[own], return_inverse=True)[1], groups[own], test[own]
    return rows, labels, groups, test


def drawn_pictures(labels, places, number, *, seed):
    """So many training pictures, at least three of each class, the rest in the shares of the classes."""
    random, ranks = np.random.default_rng([seed, number]), np.empty(len(places))
    for label in np.unique(labels):
        own = labels[places] == label
        ranks[own] = np.maximum(random.permutation(own.sum()) - 3, 0) / own.sum()
    return np.sort(places[np.argsort(ranks, kind="stable")[:number]])


def probe_task(task, work):
    """A row for each draw: for each backbone, what cross-validation says and what the test says."""
    found = task_features(task, work)
    if found is None:
        return
    rows, labels, groups, test = found
    places, tested = np.flatnonzero(~test), np.flatnonzero(test)
    for number, draws in SIZES.items():
        if len(places) >= number:
            for seed in range(draws):
                own = drawn_pictures(labels, places, number, seed=seed)
                yield {
                    "task": task, "family": family(task), "pictures": number, "seed": seed,
                    "classes": int(labels.max()) + 1, "groups": len(set(groups[own].tolist())),
                    "tested": len(tested), "backbones": probed(rows, labels, groups, own, tested, seed=seed),
                }  # fmt: skip


def probed(rows, labels, groups, own, tested, *, seed):
    """Each backbone's figures, and what cross-validation says of its difference from the default."""
    from kt import linear
    from kt.strategy.paired import Resamples
    from kt.training.probe import shares

    classes, truth, names = int(labels.max()) + 1, labels[own], groups[own].tolist()
    counts = np.bincount(truth)
    told = {"classes": classes, "groups": names, "balanced": bool(counts.max() >= 2 * counts.min()), "seed": seed}
    draws = Resamples(truth, names, seeds=1, resamples=1000)
    result, measured = {}, {}
    for name, each in rows.items():
        features = each[own].astype(np.float64)
        model = linear.fit(features, truth, keep=shares(features.shape[1]), **told)
        # The strength of the penalty and the share of the features are those of the whole: nested, it takes five times
        # as long and says the same, since both are chosen alike for each backbone.
        honest = linear.cross_validated(features, truth, C=model.C, keep=(model.kept,), **told)
        right, loss = honest.argmax(axis=1) == truth, -np.log(np.maximum(honest[np.arange(len(truth)), truth], 1e-9))
        measured[name] = draws.balanced_accuracy(right[:, None]), draws.mean(loss)
        scores = model.scores(each[tested].astype(np.float64))
        honest = [figure.value for figure in measured[name]]
        result[name] = {"cv": honest, "test": judged(scores, labels[tested])}
    for name, (accuracy, loss) in measured.items():
        gains = accuracy.minus(measured[DEFAULT][0]), measured[DEFAULT][1].minus(loss)
        result[name]["gain"] = [[gain.value, float(gain.draws.std()), *gain.interval] for gain in gains]
    return result


def judged(scores, truth):
    """Balanced accuracy and log loss on test pictures."""
    right, loss = scores.argmax(axis=1) == truth, -np.log(np.maximum(scores[np.arange(len(truth)), truth], 1e-9))
    return [float(np.mean([right[truth == label].mean() for label in np.unique(truth)])), float(loss.mean())]


def keep_probes(work, out):
    """Probe the tasks that are not in `out` with all backbones at hand."""
    from kt import linear

    rows = json.loads(out.read_text()) if out.exists() else []
    with linear.one_thread():
        for task in TASKS:
            at_hand = task_features(task, work)
            if at_hand is None or any(r["task"] == task and set(r["backbones"]) >= set(at_hand[0]) for r in rows):
                continue
            begun = time.perf_counter()
            new = list(probe_task(task, work))
            rows = [row for row in rows if row["task"] != task] + new
            out.write_text("[\n" + ",\n".join(json.dumps(rounded(row)) for row in rows) + "\n]\n")
            means = {name: np.mean([row["backbones"][name]["test"][0] for row in new]).round(3) for name in at_hand[0]}
            print(f"{task}: {time.perf_counter() - begun:.0f} s, {means}", flush=True)


def rounded(value):
    """Numbers with five digits after the point."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 5) if isinstance(value, float) else value


# ---------------------------------------------------------------------------------------------------------- the rules


ACCURACY, LOSS = 0, 1
STRICT = (0.0, 0.5, 1.0, 1.5, 1.96, 2.5, 3.0)
"""How many of its own standard errors a difference must be above 0."""

HARM = 0.02
"""A choice loses if the chosen backbone is this much worse on test than the default."""


def always(name):
    """The same backbone for all."""
    return lambda row: name if name in row["backbones"] else DEFAULT


def sure(figure, strict):
    """Another backbone where cross-validation shows by so many standard errors that it is better; else the default.

    Of several, the one whose difference is the largest.
    """

    def choose(row):
        gains = {name: each["gain"][figure] for name, each in row["backbones"].items() if name != DEFAULT}
        passed = {name: gain for name, (gain, error, *_) in gains.items() if gain > strict * error and gain > 0}
        return max(passed, key=passed.__getitem__, default=DEFAULT)

    return choose


def both(strict):
    """As `sure` by log loss, if the accuracy is not lower."""

    def choose(row):
        name = sure(LOSS, strict)(row)
        return name if row["backbones"][name]["gain"][ACCURACY][0] >= 0 else DEFAULT

    return choose


def from_pictures(least, rule):
    """A rule for sets of at least so many training pictures; below, the default."""
    return lambda row: rule(row) if row["pictures"] >= least else DEFAULT


RULES = {
    **{f"always {name}": always(name) for name in BACKBONES},
    **{f"accuracy, {strict:g} standard errors": sure(ACCURACY, strict) for strict in STRICT},
    **{f"log loss, {strict:g} standard errors": sure(LOSS, strict) for strict in STRICT},
    **{f"log loss, {strict:g}, and not less accurate": both(strict) for strict in STRICT},
    **{f"the same, {strict:g}, from 200 pictures": from_pictures(200, both(strict)) for strict in STRICT[:4]},
}


def gain(row, name, figure=ACCURACY):
    """How much better a backbone is on test than the default: points of balanced accuracy, or nats of log loss."""
    own, default = (row["backbones"][each]["test"][figure] for each in (name, DEFAULT))
    return default - own if figure == LOSS else own - default


def best(row):
    """The best backbone in hindsight, by balanced accuracy on test."""
    return max(row["backbones"], key=lambda name: row["backbones"][name]["test"][ACCURACY])


def mean_over(rows, value):
    """The mean over families of the means over tasks of the means over draws."""
    tasks = {}
    for row in rows:
        tasks.setdefault((row["family"], row["task"]), []).append(value(row))
    families = {}
    for (name, _), values in tasks.items():
        families.setdefault(name, []).append(np.mean(values))
    return float(np.mean([np.mean(values) for values in families.values()]))


def judge(rows, choose):
    """A rule's figures over draws: the mean gain on test, how often it loses or gains, and what hindsight adds."""
    return {
        "gain": 100 * mean_over(rows, lambda row: gain(row, choose(row))),
        "log loss": mean_over(rows, lambda row: gain(row, choose(row), LOSS)),
        "changed": mean_over(rows, lambda row: choose(row) != DEFAULT),
        "loses": mean_over(rows, lambda row: gain(row, choose(row)) < -HARM),
        "gains": mean_over(rows, lambda row: gain(row, choose(row)) > HARM),
        "worst": 100 * min(gain(row, choose(row)) for row in rows),
        "below hindsight": 100 * mean_over(rows, lambda row: gain(row, best(row)) - gain(row, choose(row))),
    }


def held_out(rows, rules):
    """For each family, the rule that did best on all others, and the draws of this family that it chooses for."""
    for name in sorted({row["family"] for row in rows}):
        others, own = ([row for row in rows if (row["family"] == name) == mine] for mine in (False, True))
        yield name, max(rules, key=lambda rule: judge(others, rules[rule])["gain"]), own


def show_held_out(rows, rules):
    """A rule for each family, chosen on the others, and all of these choices together."""
    print("\n| held out | rule chosen on the others | gain | log loss | changed | loses | gains | worst | below |")
    print("|---|---|---|---|---|---|---|---|---|")
    picked = {}
    for name, rule, own in held_out(rows, rules):
        print(line(f"{name} | {rule}", judge(own, rules[rule])))
        picked |= {id(row): rules[rule](row) for row in own}
    print(line("all | each its own", judge(rows, lambda row: picked[id(row)])))


def mean_of(rows, name):
    """A backbone's mean balanced accuracy on test; a dash where it was not measured."""
    figures = [row["backbones"][name]["test"][ACCURACY] for row in rows if name in row["backbones"]]
    return f"{np.mean(figures):.3f}" if len(figures) == len(rows) else "-"


def show_rules(rows):
    """The tables of README.md."""
    names = [name for name in BACKBONES if any(name in row["backbones"] for row in rows)]
    print("| task | pictures | draws |", " | ".join(names), "|")
    print("|---|---|---|" + "---|" * len(names))
    for task in dict.fromkeys(row["task"] for row in rows):
        for number in SIZES:
            own = [row for row in rows if (row["task"], row["pictures"]) == (task, number)]
            if own:
                print(f"| {task} | {number} | {len(own)} |", " | ".join(mean_of(own, name) for name in names), "|")
    parts = {"all": rows} | {f"{size} pictures": [row for row in rows if row["pictures"] == size] for size in SIZES}
    for title, some in parts.items():
        print(f"\n{title}: {len(some)} draws\n")
        print("| rule | gain | log loss | changed | loses | gains | worst | below hindsight |")
        print("|---|---|---|---|---|---|---|---|")
        for rule, choose in RULES.items():
            if not rule.startswith("always") or rule.removeprefix("always ") in names:
                print(line(rule, judge(some, choose)))
    show_held_out(rows, RULES)
    many = [row for row in rows if row["pictures"] == max(SIZES)]
    show_held_out(many, {name: rule for name, rule in RULES.items() if "not less" in name})
    print("\n| family |", " | ".join(f"{title}: gain, loses" for title in parts), "|")
    for name in sorted({row["family"] for row in rows}):
        own = [judge([row for row in some if row["family"] == name], both(0.5)) for some in parts.values()]
        print(f"| {name} |", " | ".join(f"{each['gain']:+.2f}, {each['loses']:.0%}" for each in own), "|")


def line(title, found):
    """One rule's figures as a row."""
    return (
        f"| {title} | {found['gain']:+.2f} | {found['log loss']:+.3f} | {found['changed']:.0%} "
        f"| {found['loses']:.0%} | {found['gains']:.0%} | {found['worst']:+.1f} | {found['below hindsight']:.2f} |"
    )


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("root", type=Path)
    asked.add_argument("--work", type=Path, required=True)
    asked.add_argument("do", choices=["features", "probes", "rules"])
    asked.add_argument("--out", type=Path, default=OUT)
    given = asked.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.do == "features":
        keep_features(given.root, given.work)
    elif given.do == "probes":
        keep_probes(given.work, given.out)
    else:
        show_rules(json.loads(given.out.read_text()))


if __name__ == "__main__":
    main()
