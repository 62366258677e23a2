"""`kt serve`: serves released models with TensorFlow Serving's interfaces, on one machine."""

import os
from pathlib import Path
from typing import Literal

import click
from click.core import ParameterSource

from kt.base.extras import install
from kt.cli.options import decision_options
from kt.errors import EnvironmentProblem, RecipeError

_COUNT = click.IntRange(min=1)
_PORT = click.IntRange(0, 65535)
_SECONDS = click.FloatRange(min=0, min_open=True)


@click.command("serve")
@click.argument("models", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=_PORT, default=8501, show_default=True, help="REST and the page; 0 for none.")
@click.option("--grpc-port", type=_PORT, default=8500, show_default=True, help="gRPC; 0 for none.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help="File with the key that clients must send. Default: KT_API_KEY.",
)
@click.option(
    "--max-batch-size", type=_COUNT, default=8, show_default=True, help="Pictures in a batch; 1 for no batching."
)
@click.option(
    "--batch-timeout-micros",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How long a picture waits for others.",
)
@click.option(
    "--max-enqueued-batches",
    type=_COUNT,
    default=32,
    show_default=True,
    help="Batches that may wait; more are refused (503).",
)
@click.option(
    "--engine",
    type=click.Choice(["tensorflow", "litert"]),
    default="tensorflow",
    show_default=True,
    help="The engine that computes; litert is faster on a CPU.",
)
@click.option("--num-batch-threads", type=_COUNT, default=1, show_default=True, help="Batches that run at once.")
@click.option("--max-body-mb", type=_COUNT, default=64, show_default=True, help="Megabytes of a request (413).")
@click.option("--max-pixels", type=_COUNT, default=40_000_000, show_default=True, help="Pixels of a picture (400).")
@click.option("--max-instances", type=_COUNT, default=128, show_default=True, help="Pictures of a request (400).")
@click.option("--max-requests", type=_COUNT, default=256, show_default=True, help="Requests at once (503).")
@click.option(
    "--rate-limit",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Requests a second of one client (429); 0 for no limit.",
)
@click.option(
    "--request-timeout", type=_SECONDS, default=30.0, show_default=True, help="Seconds for a request to arrive (408)."
)
@click.option(
    "--decode-timeout",
    type=_SECONDS,
    default=10.0,
    show_default=True,
    help="Seconds for a picture to be decoded (400).",
)
@click.option(
    "--grace-seconds",
    type=_SECONDS,
    default=10.0,
    show_default=True,
    help="Seconds that requests in work have after a stop.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Name that clients may reach it by (403); may be repeated; * for any. Default: localhost if --host is that, "
    "any otherwise.",
)
@click.option(
    "--poll-seconds", type=_SECONDS, default=1.0, show_default=True, help="Seconds between two checks for new versions."
)
@click.option(
    "--drift-window",
    type=click.IntRange(0, 1000),
    default=512,
    show_default=True,
    help="Latest pictures of a version that /drift looks at, kept as features; 0 for none.",
)
@decision_options
@click.option("--no-explain", is_flag=True, help="Do not say where a model looks, which costs as much as 53 pictures.")
@click.pass_context
def command(
    context: click.Context,
    models: tuple[Path, ...],
    host: str,
    port: int,
    grpc_port: int,
    api_key_file: Path | None,
    max_batch_size: int,
    batch_timeout_micros: int,
    max_enqueued_batches: int,
    engine: Literal["tensorflow", "litert"],
    num_batch_threads: int,
    max_body_mb: int,
    max_pixels: int,
    max_instances: int,
    max_requests: int,
    rate_limit: int,
    request_timeout: float,
    decode_timeout: float,
    grace_seconds: float,
    hosts: tuple[str, ...],
    poll_seconds: float,
    drift_window: int,
    abstain_below: float,
    thresholds: tuple[tuple[str, float], ...],
    sets: float | None,
    no_explain: bool,
) -> None:
    """Serve released models as TensorFlow Serving does.

    MODELS are folders such as saved_models/apples, or saved_models with all models in it. REST, gRPC and their errors
    are TensorFlow Serving's, so a client can switch to that by changing the address. New versions are served as they
    appear. Prints the address of its page on standard output, and logs a JSON object a line to standard error. SIGTERM
    and Ctrl-C stop it once requests in work are answered.

    With --abstain-below or --threshold, a picture that a model is not sure enough of gets no label: null in JSON, empty
    by gRPC. With --sets, answers say of each class whether it is in the set. They hold for all models that are served.
    """
    if not port and not grpc_port:
        raise RecipeError("Nothing to listen on: --port and --grpc-port are both 0.")
    api_key = _api_key(api_key_file)
    from kt.base import backend

    backend.start("tensorflow")
    try:
        from kt.predict.decide import Wanted
        from kt.serve import log
        from kt.serve.page import page_routes
        from kt.serve.server import grpc_is_installed, serve
        from kt.serve.settings import MIB, Batching, Limits, Settings
    except ModuleNotFoundError as error:
        raise EnvironmentProblem(f"kt serve needs {error.name}: {install('serve')}") from None
    if grpc_port and not grpc_is_installed():
        if context.get_parameter_source("grpc_port") is not ParameterSource.DEFAULT or not port:
            raise EnvironmentProblem(f"gRPC needs further packages: {install('grpc')}, or --grpc-port 0")
        grpc_port = 0
    log.to_standard_error()
    serve(
        models,
        Settings(
            host=host,
            port=port,
            grpc_port=grpc_port,
            api_key=api_key,
            batching=Batching(
                max_batch_size=max_batch_size,
                batch_timeout_micros=batch_timeout_micros,
                max_enqueued_batches=max_enqueued_batches,
                num_batch_threads=num_batch_threads,
            ),
            limits=Limits(
                body_bytes=max_body_mb * MIB,
                pixels=max_pixels,
                instances=max_instances,
                requests=max_requests,
                rate=rate_limit,
                header_seconds=min(10.0, request_timeout),
                body_seconds=request_timeout,
                decode_seconds=decode_timeout,
            ),
            poll_seconds=poll_seconds,
            engine=engine,
            hosts=hosts,
            grace_seconds=grace_seconds,
            drift_window=drift_window,
            wanted=Wanted(thresholds, abstain_below, sets),
            explains=not no_explain,
        ),
        pages=page_routes(),
    )


def _api_key(file: Path | None) -> str:
    """The key in the file's first line, or in KT_API_KEY; "" if neither is given. Raises an error for an empty one."""
    if file is None:
        if (key := os.environ.get("KT_API_KEY")) is not None and not key.strip():
            raise EnvironmentProblem("KT_API_KEY is empty; set it to a key, or unset it to answer everybody.")
        return (key or "").strip()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise EnvironmentProblem(f"The API key cannot be read from {file}: {error}") from None
    if not lines or not lines[0].strip():
        raise EnvironmentProblem(f"{file} holds no API key; write it into the first line.")
    return lines[0].strip()
