"""What `kt serve` can be told: where it listens, how it batches, and what it refuses."""

import os
from dataclasses import dataclass, field
from typing import Literal

MIB = 2**20


@dataclass(frozen=True)
class Batching:
    """Named and meant as in TensorFlow Serving's batching parameters.

    A batch goes to the model when it has `max_batch_size` pictures, or when its first one has waited for
    `batch_timeout_micros`; at 0, whenever one of `num_batch_threads` is free, so that batches grow with the load.
    """

    max_batch_size: int = 8
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 32
    num_batch_threads: int = 1

    @property
    def room(self) -> int:
        """Pictures that may be on their way at once for one signature of one version; more are refused (503)."""
        return self.max_batch_size * self.max_enqueued_batches


@dataclass(frozen=True)
class Limits:
    """What a client may ask for.

    body_bytes: of one request (413). pixels: of one picture, as its header claims them; of a large photo those of the
    reduced size at which it is decoded. instances: pictures a request. requests: in work at once (503). rate: requests
    a second for one client (429), 0 for any number. header_seconds, body_seconds: for a request's head and body to
    arrive (408). decode_seconds: for a picture to be decoded (400).
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
        """Bytes that the bodies of all requests may take together."""
        return 8 * self.body_bytes


@dataclass(frozen=True)
class Settings:
    """All of it; a port that is 0 is not listened on, and without an `api_key` every client is answered.

    engine: `tensorflow` asks the SavedModel; `litert` the float32 TFLite file beside it, which the gate found equal.
    hosts: names that a request's Host header may have beside those of this machine; without any, and where `host` is
    reached from elsewhere, every name. grace_seconds: for requests in work when the server ends.
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
