"""`kt predict --engine ray`: blocks of examples scored by Ray Data, on this machine or on a cluster.

There is one actor a core, which opens the model once. If an actor's process dies, Ray starts it anew and gives it the
block again.
"""

import json
import logging
import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kt.base import backend
from kt.base.console import quiet
from kt.base.extras import install
from kt.errors import EnvironmentProblem, one_line
from kt.kinds.kind import Source
from kt.predict.scorer import Computing, Scored, Scorer


def load_ray() -> Any:
    """The package `ray` with Ray Data. Raises EnvironmentProblem, with the command that installs it, without them."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        why = one_line(error)
        raise EnvironmentProblem(f"--engine ray needs Ray: {install('ray')} ({why})") from None
    return ray


def on_ray(plan: Computing, blocks: Iterable[Sequence[Source]]) -> Iterator[Scored]:
    """The scores in the blocks' order.

    If RAY_ADDRESS names a cluster, it is used; its machines need kt, and the model and the pictures under the same
    absolute paths. The names of all pictures, or all rows, are held in memory.
    """
    ray, all_blocks = load_ray(), list(blocks)
    ours = not ray.is_initialized()
    if ours:
        _start(ray)
    try:
        for block, row in zip(all_blocks, _rows(ray, plan, all_blocks), strict=True):
            scores = np.frombuffer(row["scores"], np.float32).reshape(len(block), -1)
            yield Scored(
                tuple(source.name for source in block),
                scores,
                tuple(json.loads(row["errors"])),
                tuple(json.loads(row["unfamiliar"])),
            )
    except ray.exceptions.RayError as error:
        raise EnvironmentProblem(f"Ray could not go on: {one_line(error)[-300:]}") from None
    finally:
        if ours:
            ray.shutdown()


def _start(ray: Any) -> None:
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ part gives warnings that don't matter here
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        with quiet():
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise EnvironmentProblem(f"Ray can't be started: {one_line(error)[:300]}") from None


def _rows(ray: Any, plan: Computing, blocks: Sequence[Sequence[Source]]) -> Iterator[dict[str, Any]]:
    if not blocks:
        return iter(())
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    items = [{"sources": pickle.dumps([_anywhere(source) for source in block])} for block in blocks]
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


def _anywhere(source: Source) -> Source:
    """The same example for a process in another folder."""
    given = source.given
    return replace(source, given=given.absolute()) if isinstance(given, Path) else source


class _Actor:
    """A worker with its own copy of the model, on one core."""

    def __init__(self, file: str, by: Any) -> None:
        backend.start("tensorflow")
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        self._scorer = Scorer(Computing(Path(file), by), workers=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        # What `_rows` has packed, brought by Ray, which packs its own messages in the same way.
        answers = [self._scorer.score(pickle.loads(sources)) for sources in batch["sources"]]  # noqa: S301
        return {
            "scores": [answer.scores.tobytes() for answer in answers],
            "errors": [json.dumps(answer.errors) for answer in answers],
            "unfamiliar": [json.dumps(answer.unfamiliar) for answer in answers],
        }
