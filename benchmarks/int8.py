"""How int8 is calibrated best, and what helps where it loses too much: by finished runs, on pictures kept from test.

    python benchmarks/int8.py runs/apples/LATEST [runs/leaves/LATEST ...]

The pictures of each run must still be there. Calibration pictures come from train; what a way costs is measured on
validation and on training pictures that calibrate nothing: the share that gets another label than from the trained
model, and the mean of the largest difference in a picture's scores. Nothing is measured on test.

`random`: drawn without regard to the class; all others per class. `first 15%`: these of the layers stay in float32.
`worst 15%`: as many, but those whose rounding TensorFlow's QuantizationDebugger finds the largest, in steps of their
output. `dynamic range`: int8 weights only, no calibration.
"""

import argparse
import csv
import io
import json
import tempfile
import time
from pathlib import Path

CALIBRATION = (10, 25, 50, 100, 200, 500, 1000)
SHARES = (0.15, 0.35)
MEASURED = 400


def opened(run):
    """The trained model and its splits."""
    import keras

    from kt.cli.options import changed
    from kt.recipe import load

    told = json.loads((run / "report.json").read_text())
    asked = told["recipe"]
    recipe = changed(load(run / "recipe.py"), data=asked["data"], settings=tuple(asked["settings"]), seed=told["seed"])
    splits = recipe.data()
    assert splits.digest == told["data"]["digest"], f"{run}: other pictures than then"
    return keras.saving.load_model(run / "model.keras", compile=False), splits, told


def per_class(labels, count, random):
    """Indices of `count` pictures, as evenly over the classes as these allow, mixed."""
    import numpy as np

    queues = [list(random.permutation(np.flatnonzero(labels == label))) for label in np.unique(labels)]
    chosen = []
    while len(chosen) < min(count, len(labels)):
        chosen += [queue.pop() for queue in queues if queue][: count - len(chosen)]
    return np.array(chosen)


def converter_of(model, pictures):
    import tensorflow as tf

    from kt.graph.traced import traced

    function, _ = traced(model, batch_size=1, takes="pixels", gives=["scores"])
    made = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    if pictures is not None:
        made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        made.representative_dataset = lambda: ([image[None]] for image in pictures)
    return made


def with_floats(model, pictures, names):
    """int8 but for the operators that give the named tensors; without names, the order of all of them."""
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.tools import flatbuffer_utils

    made = converter_of(model, pictures)
    made._experimental_calibrate_only = True
    calibrated = made.convert()
    operators = flatbuffer_utils.convert_bytearray_to_object(calibrated).subgraphs[0]
    order = [[operators.tensors[i].name.decode() for i in operator.outputs] for operator in operators.operators]
    return mlir_quantize(calibrated, denylisted_nodes=names(order))


def first(share):
    return lambda order: [name for names in order[: round(share * len(order))] for name in names]


def worst(model, pictures):
    """Names of layers' outputs, from the largest rounding to the smallest."""
    import tensorflow as tf

    made = converter_of(model, pictures[:100])
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=made, debug_dataset=lambda: ([image[None]] for image in pictures[:50])
    )
    debugger.run()
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    rows.sort(key=lambda row: -(float(row["mean_squared_error"]) ** 0.5) / float(row["scale"]))
    return [row["tensor_name"] for row in rows]


def measured(content, pixels, reference):
    """Share of pictures with another label, mean largest difference in scores, milliseconds a picture, megabytes."""
    import numpy as np

    from kt.export.formats.tflite import TFLiteArtifact

    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(content)
        file.flush()
        artifact = TFLiteArtifact(Path(file.name))
        started = time.perf_counter()
        scores = artifact.scores(pixels)
        seconds = time.perf_counter() - started
    other = float(np.mean(scores.argmax(1) != reference.argmax(1)))
    return other, float(np.abs(scores - reference).max(axis=1).mean()), 1000 * seconds / len(pixels), len(content) / 1e6


def ways(model, splits, kept, random):
    """Each way of quantising by name, as a function that gives the file's content."""
    train = splits.train
    free = [index for index in range(len(train)) if index not in kept]
    labels = train.labels[free]

    def pictures(count):
        import numpy as np

        return train.examples[np.array(free)[per_class(labels, count, random)]]

    found = {}
    for count in (count for count in CALIBRATION if count <= len(free)):
        found[f"int8, {count} pictures"] = lambda count=count: converter_of(model, pictures(count)).convert()
    found["int8, 200 random"] = lambda: converter_of(model, train.examples[random.permutation(free)[:200]]).convert()
    for share in SHARES:
        found[f"first {share:.0%} in float"] = lambda share=share: with_floats(model, pictures(200), first(share))

        def by_worst(share=share):
            shown = pictures(200)
            names = worst(model, shown)
            return with_floats(model, shown, lambda order: names[: round(share * len(order))])

        found[f"worst {share:.0%} in float"] = by_worst
    found["dynamic range"] = lambda: converter_of(model, None).convert()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=2, help="of the calibration pictures")
    args = parser.parse_args()
    from kt.base import backend

    backend.start("tensorflow")
    import numpy as np

    for run in args.runs:
        model, splits, told = opened(run)
        kept = set(per_class(splits.train.labels, MEASURED // 2, np.random.default_rng(0)).tolist())
        kept = set(list(kept)[: len(splits.train) // 3])
        pixels = np.concatenate([splits.train.examples[sorted(kept)], splits.validation.examples[:MEASURED]])
        reference = model.predict(pixels, verbose=0)
        print(f"\n{told['data']['origin']}, seed {told['seed']}, {len(pixels)} pictures\n")
        print("| way | other label, % | mean largest difference | ms | MB | s to make |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name in ways(model, splits, kept, np.random.default_rng(0)):
            rows = []
            for draw in range(args.draws):
                started = time.perf_counter()
                content = ways(model, splits, kept, np.random.default_rng(draw))[name]()
                made = time.perf_counter() - started
                rows.append((*measured(content, pixels, reference), made))
            other, difference, ms, size, made = np.mean(rows, axis=0)
            print(f"| {name} | {100 * other:.2f} | {difference:.4f} | {ms:.1f} | {size:.2f} | {made:.0f} |", flush=True)


if __name__ == "__main__":
    main()
