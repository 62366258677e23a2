"""Images a second of `kt predict --out` beside each engine and the floor.

    python benchmarks/predict.py saved_models/apples ../shared/data/apple_leaves --images 2000

`decoding`: reading, decoding and resizing in a thread a core. The engines compute decoded pictures from memory, in the
ways in which each can be set up. The floor is what one could reach with no cost but these two, on cores that are busy
all the time: 1 / (1 / decoding + 1 / fastest engine). OpenVINO and Ray are measured where they are installed; what
gives other scores than the SavedModel (more than 1e-4 off) is no part of the floor. Each figure is the median of
`--repeats`, taken in turn, so that other work on the machine falls on all of them alike. CPU time, of all threads of
this process, hangs less on such work than images/s; Ray's is in other processes.
"""

import argparse
import importlib.util
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

BATCHES = 8


def engines(release, pixels, cores):
    """Each way to compute `pixels`, by name: a function without arguments."""
    from ai_edge_litert.interpreter import Interpreter

    from kt.export.formats.saved_model import SavedModelArtifact
    from kt.export.formats.tflite import TFLiteArtifact

    (file,) = release.glob("*_float32.tflite")
    saved = SavedModelArtifact(release)
    ways = {
        "TensorFlow, batches of 32": lambda: [saved.scores(pixels[i : i + 32]) for i in range(0, len(pixels), 32)],
        "TensorFlow, one by one": lambda: [saved.scores(pixels[i : i + 1]) for i in range(len(pixels))],
    }
    one, shared = TFLiteArtifact(file, threads=1), TFLiteArtifact(file, threads=cores)
    several = [TFLiteArtifact(file, threads=1) for _ in range(cores)]
    ways["LiteRT, one interpreter of one thread"] = lambda: one.scores(pixels)
    ways[f"LiteRT, one interpreter of {cores} threads"] = lambda: shared.scores(pixels)
    ways[f"LiteRT, {cores} interpreters of one thread"] = lambda: side_by_side(
        [lambda artifact=artifact, part=part: artifact.scores(part) for artifact, part in parts(several, pixels)]
    )
    batched = Interpreter(model_path=str(file), num_threads=cores)
    place = batched.get_input_details()[0]["index"]
    batched.resize_tensor_input(place, [BATCHES, *pixels.shape[1:]])
    batched.allocate_tensors()

    def in_batches():
        for start in range(0, len(pixels) - BATCHES + 1, BATCHES):
            batched.set_tensor(place, pixels[start : start + BATCHES])
            batched.invoke()

    ways[f"LiteRT, {cores} threads, batches of {BATCHES}"] = in_batches
    if importlib.util.find_spec("openvino"):
        ways |= openvino(file, pixels)
    return ways


def openvino(file, pixels):
    import numpy as np
    import openvino as ov

    from kt.export.formats.tflite import TFLiteArtifact

    core, ways = ov.Core(), {}
    right = TFLiteArtifact(file).scores(pixels[:64])
    for size, precision in ((1, "f32"), (BATCHES, "f32"), (1, "bf16")):
        read = core.read_model(file)
        read.reshape([size, *pixels.shape[1:]])
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
        compiled = core.compile_model(read, "CPU", settings)

        def compute(size=size, compiled=compiled):
            queue = ov.AsyncInferQueue(compiled)
            for start in range(0, len(pixels) - size + 1, size):
                queue.start_async([pixels[start : start + size]])
            queue.wait_all()

        found = np.concatenate([compiled(pixels[start : start + size])[0] for start in range(0, 64, size)])
        off = np.abs(found - right).max()
        other = f"; scores are up to {off:.2g} off" if off > 1e-4 else ""
        ways[f"{'not equal: ' if other else ''}OpenVINO, {precision}, batches of {size}{other}"] = compute
    return ways


def parts(artifacts, pixels):
    return [(artifact, pixels[index :: len(artifacts)]) for index, artifact in enumerate(artifacts)]


def side_by_side(jobs):
    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def commands(model, files, release):
    """What kt itself does, by name."""
    from kt.export.artifact import open_artifact
    from kt.predict import predict_files
    from kt.predict.resumable import predict_to

    def table(engine, suffix=".csv"):
        with tempfile.TemporaryDirectory() as folder:
            return predict_to(Path(folder) / f"scores{suffix}", model=model, pictures=files, engine=engine)

    opened = open_artifact(release)
    ways = {
        "kt predict, without --out": lambda: list(predict_files(opened, files)),
        "kt predict --out scores.csv": lambda: table("auto"),
        "kt predict --out scores.parquet": lambda: table("auto", ".parquet"),
        "kt predict --out scores.csv --engine tensorflow": lambda: table("tensorflow"),
    }
    if importlib.util.find_spec("ray"):
        ways["kt predict --out scores.csv --engine ray"] = lambda: table("ray")
    return ways


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="saved_models/NAME or one version of it")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    from kt.base import backend

    backend.start("tensorflow")
    import numpy as np

    from kt.base import environment
    from kt.export.artifact import find_artifact
    from kt.export.formats.tflite import TFLiteArtifact
    from kt.kinds.pictures.find import find_pictures
    from kt.kinds.pictures.images import read_rgb, resize

    release, cores = find_artifact(options.model), environment.cores()
    files = list(islice(cycle(find_pictures(options.pictures)), options.images))
    size = TFLiteArtifact(next(release.glob("*_float32.tflite"))).kind.image_size

    def decode():
        with ThreadPoolExecutor(cores) as pool:
            for _ in pool.map(lambda file: resize(read_rgb(file), size), files):
                pass

    pixels = np.stack([resize(read_rgb(file), size) for file in files[: min(len(files), 512)]])
    ways = {"decoding": (decode, len(files))}
    ways |= {name: (way, len(pixels)) for name, way in engines(release, pixels, cores).items()}
    ways |= {name: (way, len(files)) for name, way in commands(options.model, files, release).items()}
    rates, busy = {name: [] for name in ways}, {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, (way, count) in ways.items():
            started, worked = time.perf_counter(), time.process_time()
            way()
            rates[name].append(count / (time.perf_counter() - started))
            busy[name].append(1000 * (time.process_time() - worked) / count)
    middle = {name: statistics.median(found) for name, found in rates.items()}
    fastest = max(
        (rate, name) for name, rate in middle.items() if name.startswith(("TensorFlow", "LiteRT", "OpenVINO"))
    )
    floor = 1 / (1 / middle["decoding"] + 1 / fastest[0])
    print(f"{len(files)} pictures, {size[0]}x{size[1]}, {cores} cores; floor: decoding and {fastest[1]}\n")
    print("| | images/s | lowest to highest | of the floor | CPU, ms a picture |\n| --- | --- | --- | --- | --- |")
    for name, rate in middle.items():
        share = f"{rate / floor:.2f}" if name.startswith("kt") else ""
        work = "" if name.endswith("ray") else f"{statistics.median(busy[name]):.1f}"
        print(f"| {name} | {rate:.0f} | {min(rates[name]):.0f} to {max(rates[name]):.0f} | {share} | {work} |")
    work = statistics.median(busy["decoding"]) + statistics.median(busy[fastest[1]])
    print(f"| floor | {floor:.0f} | | 1 | {work:.1f} |")


if __name__ == "__main__":
    main()
