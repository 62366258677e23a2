"""What one temperature pays: log loss and Brier score with and without, on few pictures, on plain and changed tests.

    python benchmarks/calibration.py ../shared/data/{apples,apple_leaves,clothing,bean_leaves} --json calibration.json

MobileNetV2 at 128 px, two ways to train: `probe`, kt's default, a linear probe on all depths; and `fine_tune`, 5 epochs
of a head and 10 of the last blocks. 100 and 300 training pictures for the probe, 200 for fine-tuning, a quarter as many
for validation, at most 300 of test. The test pictures are answered four times: as they are, at half the light, blurred,
and in grey. Scores are kept in --scores, so that ways to choose the temperature can be compared on the same scores. The
seed moves the draw of the pictures and the training. Nothing is chosen on the test split.
"""

import argparse
import dataclasses
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

SIZE, MOST_TEST = 128, 300
WANTED = 0.8
SIZES = {"probe": (100, 300), "fine_tune": (200,)}


def dark(image):
    """Half of the light."""
    return ImageEnhance.Brightness(image).enhance(0.5)


def blurred(image):
    """Out of focus by about a hundredth of the side."""
    return image.filter(ImageFilter.GaussianBlur(SIZE / 100))


def grey(image):
    """Without colour."""
    return image.convert("L").convert("RGB")


CHANGES = {"plain": lambda image: image, "half the light": dark, "blurred": blurred, "grey": grey}


def changed(pixels, change):
    """Pictures `[N, H, W, 3]` after a change."""
    return np.stack([np.asarray(change(Image.fromarray(picture))) for picture in pixels])


def some(part, count, seed, *, classes):
    """So many pictures of a split, as evenly over the classes as they are there."""
    random = np.random.default_rng(seed)
    turns = np.empty(len(part))
    for label in range(classes):
        members = random.permutation(np.flatnonzero(part.labels == label))
        turns[members] = np.arange(len(members))
    return part.take(np.sort(np.lexsort((random.permutation(len(part)), turns))[:count]))


def drawn(splits, size, seed):
    """The splits of one training."""
    classes = len(splits.classes)
    return dataclasses.replace(
        splits,
        train=some(splits.train, size, seed, classes=classes),
        validation=some(splits.validation, size // 4, seed, classes=classes),
    )


def by_probe(splits, seed, tests):
    """Scores of kt's default on validation, on train cross-validated, and on each test."""
    import keras

    from kt import Classifier, LinearProbe, Recipe, training
    from kt.linear import cross_validated
    from kt.network import model
    from kt.training.probe import features, shares_of

    recipe = Recipe(
        lambda: splits, keras.applications.MobileNetV2, Classifier(), [LinearProbe(features="all")], seed=seed
    )
    training.seed_everything(seed)
    built = model.build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    _, best = training.train(built, recipe, splits)
    train = features(built, splits.train.examples)
    honest = cross_validated(
        train, splits.train.labels, classes=len(splits.classes), keep=shares_of(built),
        groups=splits.train.groups, seed=seed,
    )  # fmt: skip
    return best.scores, honest, {name: model.predict(built.model, pixels) for name, pixels in tests.items()}


def by_fine_tuning(splits, seed, tests):
    """Scores of a head and the last blocks, trained by gradient steps."""
    import keras

    from kt import Classifier, Phase, Recipe, training
    from kt.freeze import from_block, frozen
    from kt.network import model

    phases = [
        Phase("train_head", frozen, epochs=5, lr=3e-3),
        Phase("fine_tune", from_block("block_13"), epochs=10, lr=1e-4),
    ]
    recipe = Recipe(lambda: splits, keras.applications.MobileNetV2, Classifier(), phases, seed=seed)
    training.seed_everything(seed)
    built = model.build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    _, best = training.train(built, recipe, splits)
    return best.scores, None, {name: model.predict(built.model, pixels) for name, pixels in tests.items()}


WAYS = {"probe": by_probe, "fine_tune": by_fine_tuning}


def keep_scores(folder, file, splits, answered):
    """Write what a model says, with labels and groups."""
    validation, honest, tests = answered
    arrays = {"validation": validation, **{f"test {name}": scores for name, scores in tests.items()}}
    if honest is not None:
        arrays["train"] = honest
    for name in ("train", "validation", "test"):
        part = getattr(splits, name)
        arrays[f"{name} labels"], arrays[f"{name} groups"] = part.labels, np.array(part.groups)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / file, **arrays)


def score(data, seeds, folder):
    """Train and keep the scores of each way, set, size and seed that is not there."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["KT_HOME"] = home
        from kt.base import backend

        backend.start()
        import keras

        from kt.data import Folder

        for place in data:
            splits = Folder(place, image_size=(SIZE, SIZE), batch_size=32)()
            splits = dataclasses.replace(splits, test=some(splits.test, MOST_TEST, 0, classes=len(splits.classes)))
            tests = {name: changed(splits.test.examples, change) for name, change in CHANGES.items()}
            for way, answer in WAYS.items():
                for size in SIZES[way]:
                    for seed in seeds:
                        file = f"{way}-{place.name}-{size}-{seed}.npz"
                        if not (folder / file).exists():
                            own = drawn(splits, size, seed)
                            keep_scores(folder, file, own, answer(own, seed, tests))
                            keras.backend.clear_session()
                            print(file, flush=True)


def lowest(scores, labels):
    """The temperature with the lowest log loss and nothing else, from 0.05 to 20."""
    from scipy.optimize import minimize_scalar

    from kt.base.chance import losses
    from kt.heads.classification.calibrate import at_temperature

    found = minimize_scalar(
        lambda power: losses(at_temperature(scores, np.exp(power)), labels).mean(), bounds=(-3, 3), method="bounded"
    )
    return float(np.exp(found.x))


def choices(kept):
    """Each way to choose the temperature, with the temperature."""
    from kt.heads.classification.calibrate import fitted_temperature

    found = {"none": 1.0}
    for name in ("validation", "train"):
        if name in kept:
            told = kept[name], kept[f"{name} labels"]
            where = "validation" if name == "validation" else "train, cross-validated"
            found[f"lowest log loss, {where}"] = lowest(*told)
            found[f"kt's, {where}"] = fitted_temperature(*told, kept[f"{name} groups"].tolist())
    return found


def figures(folder):
    """A row for each training, choice and test."""
    from kt.base.chance import losses
    from kt.heads.classification.calibrate import at_temperature
    from kt.heads.classification.measure import squared_distances

    rows = []
    for file in sorted(folder.glob("*.npz")):
        way, name, size, seed = file.stem.split("-")
        with np.load(file, allow_pickle=False) as kept:
            labels = kept["test labels"]
            for choice, temperature in choices(kept).items():
                for test in CHANGES:
                    scores = at_temperature(kept[f"test {test}"], temperature)
                    row = {"way": way, "set": name, "pictures": int(size), "seed": int(seed), "choice": choice}
                    row |= {"temperature": temperature, "test": test}
                    row["log_loss"] = float(losses(scores, labels).mean())
                    row["brier_score"] = float(squared_distances(scores, labels).mean())
                    rows.append(
                        {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}
                    )
    return rows


def table(rows):
    """A row for each way, size, kind of test and choice: means over sets and seeds, and the range of the change."""
    print("| trained by | test | temperature by | temperature | log loss | change | better, worse | Brier score |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    plain = {key_of(row): row for row in rows if row["choice"] == "none"}
    for way, size in dict.fromkeys((row["way"], row["pictures"]) for row in rows):
        for tests in (("plain",), tuple(CHANGES)[1:]):
            for choice in dict.fromkeys(row["choice"] for row in rows if row["way"] == way):
                own = [row for row in rows if (row["way"], row["pictures"], row["choice"]) == (way, size, choice)]
                own = [row for row in own if row["test"] in tests]
                changes = [row["log_loss"] - plain[key_of(row)]["log_loss"] for row in own]
                better, worse = (sum(sign * each > 1e-5 for each in changes) for sign in (-1, 1))
                spread = f"{np.mean(changes):+.3f} ({min(changes):+.3f} to {max(changes):+.3f})"
                temperatures = [row["temperature"] for row in own]
                cells = [f"{way}, {size}", "plain" if tests == ("plain",) else "changed", choice]
                cells.append(f"{np.mean(temperatures):.2f} ({min(temperatures):.2f} to {max(temperatures):.2f})")
                cells += [
                    f"{np.mean([row['log_loss'] for row in own]):.3f}",
                    spread,
                    f"{better}, {worse} of {len(own)}",
                ]
                cells.append(f"{np.mean([row['brier_score'] for row in own]):.4f}")
                print(f"| {' | '.join(cells)} |")


def unsure(folder):
    """For each way and size, what answering the surest alone, sets for 0.9 and thresholds give on test."""
    from kt.heads.classification.conformal import measured_sets, set_rule
    from kt.heads.classification.selective import risk_coverage
    from kt.heads.classification.thresholds import measured_threshold, threshold_for

    found = {}
    for file in sorted(folder.glob("*.npz")):
        way, _, size, _ = file.stem.split("-")
        with np.load(file, allow_pickle=False) as kept:
            labels, groups = kept["test labels"], kept["test groups"].tolist()
            told = kept["validation"], kept["validation labels"], kept["validation groups"].tolist()
            rule = set_rule(*told, level=0.9)
            classes = [str(each) for each in range(told[0].shape[1])]
            asked = [(figure, label) for figure in ("precision", "recall") for label in classes]
            given = {
                each: threshold_for(each[0], WANTED, *told, classes=classes, label=each[1], many="pictures").score
                for each in asked
            }
            for test in CHANGES:
                scores = kept[f"test {test}"]
                row = found.setdefault((f"{way}, {size}", "plain" if test == "plain" else "changed"), [])
                curve = risk_coverage(scores, labels, groups=groups, resamples=10)["curve"]
                at = min(curve, key=lambda point: abs(point["coverage"] - 0.8))
                kept_promises = [
                    measured_threshold(least, scores, labels, groups, column=int(label))[figure]
                    for (figure, label), least in given.items()
                    if least is not None
                ]
                sets = None if rule is None else measured_sets(rule, scores, labels, groups)
                row.append((curve[-1]["risk"], at["risk"], sets, len(asked), [each for each in kept_promises if each]))
    print(
        "\n| trained by | test | wrong | wrong of the surest 80% | sets for 0.9: coverage | classes in a set | "
        f"thresholds for {WANTED}: given | figure on test | below {WANTED} |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (way, test), rows in found.items():
        sets = [row[2] for row in rows if row[2]]
        covered, promises = [each["coverage"] for each in sets], [each for row in rows for each in row[4]]
        cells = [way, test, f"{np.mean([row[0] for row in rows]):.3f}", f"{np.mean([row[1] for row in rows]):.3f}"]
        cells.append(f"{np.mean(covered):.3f} ({min(covered):.3f} to {max(covered):.3f})")
        cells.append(f"{np.mean([each['mean_size'] for each in sets]):.2f}")
        cells.append(f"{len(promises)} of {sum(row[3] for row in rows)}")
        cells.append(f"{np.mean(promises):.3f}" if promises else "")
        cells.append(f"{sum(each < WANTED for each in promises)}")
        print(f"| {' | '.join(cells)} |")


def key_of(row):
    """What rows of different choices share."""
    return tuple(row[name] for name in ("way", "set", "pictures", "seed", "test"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="*", help="none to use the kept scores alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scores", type=Path, default=Path("calibration-scores"), help="a folder that keeps scores")
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    if args.data:
        score(args.data, args.seeds, args.scores)
    rows = figures(args.scores)
    if args.json:
        args.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
    table(rows)
    unsure(args.scores)


if __name__ == "__main__":
    main()
