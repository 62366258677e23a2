"""The settings of `kt serve`: where it listens, how it batches, and its limits."""

import os
from dataclasses import dataclass, field
from typing import Literal

from kt.predict.decide import Wanted

MIB = 2**20


@dataclass(frozen=True)
class Batching:
    """TensorFlow Serving's batching parameters, with the same names and meanings.

    A batch goes to the model when it has `max_batch_size` pictures, or when its first picture has waited for
    `batch_timeout_micros`. With a timeout of 0 it goes whenever one of `num_batch_threads` is free, so that batches
    grow with the load.
    """

    max_batch_size: int = 8
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 32
    num_batch_threads: int = 1

    @property
    def room(self) -> int:
        """The most pictures in work for one signature of one version; more are refused (503)."""
        return self.max_batch_size * self.max_enqueued_batches


@dataclass(frozen=True)
class Limits:
    """Upper limits for requests, each with the status of a refusal.

    body_bytes: of one request (413). pixels: of one picture, by its header; for a large photo, those of the reduced
    size at which it is decoded (400). instances: pictures in one request (400). requests: in work at once (503). rate:
    requests a second from one client (429), 0 for no limit. header_seconds, body_seconds: until a request's head and
    body have arrived (408). decode_seconds: for decoding one picture (400).
    """

    body_bytes: int = 64 * MIB
    pixels: int = 40_000_000
    instances: int = 128
    requests: int = 256
    rate: int = 0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    decode_seconds: float = 10.0

    @property
    def all_bodies_bytes(self) -> int:
        """The most bytes of the bodies of all requests together."""
        return 8 * self.body_bytes


@dataclass(frozen=True)
class Settings:
    """All settings. A port of 0 is not opened. Without an `api_key` every client is answered.

    drift_window: of each version, the latest answered pictures that are kept as features, to compare them with its
    held-out ones; 0 keeps none. engine: `tensorflow` runs the SavedModel, `litert` the float32 TFLite file beside it,
    which the gate found equal. hosts: names that a request's Host header may have besides those of this machine; if
    none are given and `host` can be reached from elsewhere, every name is allowed. grace_seconds: the time for requests
    in work when the server stops. wanted: how each model's scores become labels and sets; a version that lacks what
    this needs is not served. explains: whether it says where a model looks, which costs as much as 53 pictures.
    """

    host: str = "127.0.0.1"
    port: int = 8501
    grpc_port: int = 8500
    api_key: str = field(default="", repr=False)
    batching: Batching = Batching()
    limits: Limits = Limits()
    poll_seconds: float = 1.0
    engine: Literal["tensorflow", "litert"] = "tensorflow"
    decode_threads: int = min(4, os.cpu_count() or 1)
    hosts: tuple[str, ...] = ()
    grace_seconds: float = 10.0
    drift_window: int = 512
    wanted: Wanted = field(default_factory=Wanted)
    explains: bool = True
