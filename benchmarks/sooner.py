"""How soon kt's model is as good on the test pictures as the Keras guide's code is in the end, start-up included.

    python benchmarks/sooner.py ../shared/data/apple_leaves --peers ../shared/peers --images 200 500

DIR holds train/CLASS/* and test/CLASS/*; the peers' folder holds keras_guide.py, which is run as it is, and common.py,
which chooses the pictures and splits them for both. The guide's code trains a head for 5 epochs, then everything for 5,
at 224 pixels with augmentation. kt trains a head and then from block 13 on, at 224 pixels without augmentation; its
clock starts with its process and stops while the test pictures are asked after each epoch. Asking them is only to know
when to stop the clock: nothing is chosen by it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STARTED = time.perf_counter()
WEIGHTS = Path.home() / ".keras" / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"

RECIPE = '''"""kt's side of the benchmark."""

import keras

from kt import Classifier, Phase, Recipe
from kt.data import Folder
from kt.freeze import from_block, frozen

recipe = Recipe(
    data=Folder("{data}", image_size=(224, 224), batch_size=32),
    backbone=keras.applications.MobileNetV2,
    head=Classifier(dropout=0.2),
    phases=[
        Phase("train_head", trainable=frozen, epochs=20, lr=3e-3),
        Phase("fine_tune", trainable=from_block("block_13"), epochs=10, lr=1e-4),
    ],
    seed={seed},
    export=[],
)
'''


def guide(args, images, seed):
    """The last JSON line of the guide's code, and the seconds of its process."""
    command = [sys.executable, "keras_guide.py", str(args.data.resolve()), "--seed", str(seed), "--epochs", "5", "5"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--train-limit", str(images)],
        cwd=args.peers, env={**os.environ, "PEER_KERAS_WEIGHTS": str(args.weights)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - started


def staged(args, images, seed, folder):
    """A recipe on the pictures that the guide's code takes."""
    sys.path.insert(0, str(args.peers))
    import common

    root, _ = common.stage(args.data, seed, images)
    (folder / "sooner.py").write_text(RECIPE.format(data=root, seed=seed))


def kt_until(folder):
    """Train, and tell the seconds and the test's accuracy after each epoch."""
    from kt.base import backend

    backend.start()
    import keras
    from sklearn.metrics import balanced_accuracy_score

    from kt import training
    from kt.network import model
    from kt.recipe import load

    recipe = load(folder / "sooner.py").recipe
    training.seed_everything(recipe.seed)
    splits = recipe.data()
    built = model.build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    paused, seen = 0.0, []

    class Ask(keras.callbacks.Callback):
        """Asks the whole model the test pictures, with the clock stopped."""

        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            nonlocal paused
            now = time.perf_counter()
            self.model.get_weights()  # brings JAX's state back
            scores = model.predict(built.model, splits.test.examples)
            seen.append((now - STARTED - paused, float(balanced_accuracy_score(splits.test.labels, scores.argmax(1)))))
            paused += time.perf_counter() - now

    fit = keras.Model.fit
    keras.Model.fit = lambda self, *rest, callbacks, **more: fit(self, *rest, callbacks=[*callbacks, Ask()], **more)
    training.train(built, recipe, splits)
    print(json.dumps(seen))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="Keras's MobileNetV2 with its top")
    parser.add_argument("--images", type=int, nargs="+", default=[200, 500])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        kt_until(args.folder)
        return
    print("| set | pictures | seed | guide: balanced accuracy | seconds | kt is there after | sooner | kt in the end |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for images in args.images:
        for seed in args.seeds:
            told, seconds = guide(args, images, seed)
            with tempfile.TemporaryDirectory() as name:
                staged(args, images, seed, Path(name))
                command = [sys.executable, __file__, str(args.data), "--peers", str(args.peers), "--folder", name]
                done = subprocess.run(
                    command, env={**os.environ, "KT_HOME": f"{name}/home"},
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
                )  # fmt: skip
            seen = json.loads(done.stdout.splitlines()[-1])
            goal = told["balanced_accuracy"]
            there = next((second for second, accuracy in seen if accuracy >= goal), None)
            when = "not reached | " if there is None else f"{there:.1f} s | {seconds / there:.1f}x"
            end = f"{seen[-1][1]:.3f} after {seen[-1][0]:.0f} s"
            print(f"| {args.data.name} | {images} | {seed} | {goal:.3f} | {seconds:.0f} | {when} | {end} |", flush=True)


if __name__ == "__main__":
    main()
