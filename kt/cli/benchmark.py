"""`kt benchmark`: how fast files for phones are on this machine."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kt.base.console import progress_bar, tell, tell_json, tell_table
from kt.base.names import printable
from kt.cli.options import json_option

if TYPE_CHECKING:
    from kt.predict.benchmark import Benchmark, Timing


@click.command("benchmark")
@click.argument("models", metavar="MODEL...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--threads", metavar="N,N,...", help="Numbers of threads. Default: 1, 2, 4, ... to the number of cores.")
@click.option("--runs", type=click.IntRange(min=1), default=50, show_default=True, help="Measured calls.")
@click.option(
    "--warm-up", type=click.IntRange(min=0), default=5, show_default=True, help="Calls before the measured ones."
)
@json_option
def command(models: tuple[Path, ...], threads: str | None, runs: int, warm_up: int, as_json: bool) -> None:
    """Measure how fast files for phones are on this machine.

    MODEL is a .tflite file, a version folder, or saved_models/NAME (its newest version); several are compared. Shows
    how long each takes for one picture, with each number of threads, with XNNPACK (as apps use it) and with TFLite's
    plain kernels. Also shows its size, and the memory that it takes while it runs.
    """
    from kt.base.environment import machine
    from kt.predict.benchmark import benchmark, tflite_files, thread_counts

    computer = machine()
    counts = _counts(threads) if threads else thread_counts(int(computer["cores"]))
    files = [file for model in models for file in tflite_files(model)]
    with progress_bar("benchmark", 2 * len(counts) * len(files), unit="way") as bar:
        done = [benchmark(file, threads=counts, runs=runs, warm_up=warm_up, after_each=bar.advance) for file in files]
    if as_json:
        rows = [{**dataclasses.asdict(item), "path": str(item.path)} for item in done]
        tell_json({"machine": computer, "runs": runs, "warm_up": warm_up, "models": rows}, indent=2)
    else:
        _print(done, cores=int(computer["cores"]), runs=runs)


def _counts(text: str) -> tuple[int, ...]:
    """The numbers of a text such as `1,2,4`, without repetitions."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= 1024 for part in parts):
        raise click.BadParameter(f"{text!r} is no list of numbers such as 1,2,4.", param_hint="--threads")
    return tuple(dict.fromkeys(map(int, parts)))


def _print(done: Sequence["Benchmark"], *, cores: int, runs: int) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("file", overflow="fold")
    for title in ("MB", "kernels", "threads", "ms", "9 in 10 calls", "held MB"):
        table.add_column(title, justify="right")
    for item in done:
        for place, timing in enumerate(item.timings):
            begins = (printable(item.path.stem), f"{item.bytes / 1e6:.2f}") if place == 0 else ("", "")
            table.add_row(*begins, *_cells(timing), end_section=place == len(item.timings) - 1)
    tell_table(table)
    item, timing = min(((item, timing) for item in done for timing in item.timings), key=lambda pair: pair[1].median_ms)
    threads = "1 thread" if timing.threads == 1 else f"{timing.threads} threads"
    tell(
        f"Median of {runs} calls of one picture each, on {cores} cores. Fastest: {item.path.name}, {threads}, "
        f"{'with' if timing.xnnpack else 'without'} XNNPACK, {timing.median_ms:.2f} ms."
    )


def _cells(timing: "Timing") -> list[Any]:
    return [
        "XNNPACK" if timing.xnnpack else "plain",
        str(timing.threads),
        f"{timing.median_ms:.2f}",
        f"{timing.low_ms:.2f} - {timing.high_ms:.2f}",
        "" if timing.memory is None else f"{timing.memory / 1e6:.1f}",
    ]
