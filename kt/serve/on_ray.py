"""`kt predict --engine ray`: the same blocks, scored by Ray Data, on this machine or on a cluster.

One actor a core opens the model once. Where an actor's process dies, Ray starts it anew and gives it the block again.
"""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kt import backend
from kt.console import quiet
from kt.errors import EnvironmentProblem, one_line
from kt.extras import install
from kt.serve.scorer import Plan, Scored, Scorer


def load_ray() -> Any:
    """The package `ray` with its part for data; EnvironmentProblem, with the command that mends it, without them."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        why = one_line(error)
        raise EnvironmentProblem(f"--engine ray needs Ray: {install('ray')} ({why})") from None
    return ray


def on_ray(plan: Plan, blocks: Iterable[Sequence[Path]]) -> Iterator[Scored]:
    """The answers in the blocks' order.

    A cluster is used where RAY_ADDRESS names one; its machines need kt, and the model and the pictures under the same
    absolute paths. The names of all pictures are held in memory.
    """
    ray, asked = load_ray(), list(blocks)
    ours = not ray.is_initialized()
    if ours:
        _start(ray)
    try:
        for block, row in zip(asked, _rows(ray, plan, asked), strict=True):
            scores = np.frombuffer(row["scores"], np.float32).reshape(len(block), -1)
            yield Scored(tuple(block), scores, tuple(json.loads(row["errors"])))
    except ray.exceptions.RayError as error:
        raise EnvironmentProblem(f"Ray could not go on: {one_line(error)[-300:]}") from None
    finally:
        if ours:
            ray.shutdown()


def _start(ray: Any) -> None:
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ part warns of things that do no harm here
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        with quiet():
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise EnvironmentProblem(f"Ray can't be started: {one_line(error)[:300]}") from None


def _rows(ray: Any, plan: Plan, blocks: Sequence[Sequence[Path]]) -> Iterator[dict[str, Any]]:
    if not blocks:
        return iter(())
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    items = [{"files": [os.fsencode(file.absolute()) for file in block]} for block in blocks]
    actors = max(1, min(int(ray.cluster_resources().get("CPU", 1)), len(items)))
    answers = ray.data.from_items(items).map_batches(
        _Actor,
        fn_constructor_args=[str(plan.file.absolute()), plan.by],
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=1,
    )
    rows: Iterator[dict[str, Any]] = iter(answers.iter_rows())
    return rows


class _Actor:
    """A worker's own copy of the model, on one core."""

    def __init__(self, file: str, by: Any) -> None:
        backend.start("tensorflow")
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        self._scorer = Scorer(Plan(Path(file), by), workers=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answers = [self._scorer.score([Path(os.fsdecode(file)) for file in files]) for files in batch["files"]]
        return {
            "scores": [answer.scores.tobytes() for answer in answers],
            "errors": [json.dumps(answer.errors) for answer in answers],
        }
