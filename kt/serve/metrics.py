"""Metrics for Prometheus: requests, seconds, pictures, batches, and which version answers."""

from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kt.serve.refusal import Refusal

if TYPE_CHECKING:
    from kt.drift import Drift
    from kt.serve.answering import Answer
    from kt.serve.servable import Servable
    from kt.serve.store import ModelStore

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_CLASSES = (1, 2, 3, 4, 5, 7, 10, 20, 50, 100)


class Metrics:
    """One server's counters, in their own registry. Model labels are names of served models, never a client's text."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "kt_requests", "Requests by interface, kind and status", ["interface", "kind", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "kt_request_seconds", "Time to the whole answer", ["interface", "kind"], buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._pictures = Counter("kt_pictures", "Pictures answered", ["model", "version"], registry=self._registry)
        self._unfamiliar = Counter(
            "kt_unfamiliar_pictures", "Pictures answered that are unlike anything the model learned from",
            ["model", "version"], registry=self._registry,
        )  # fmt: skip
        self._unsure = Counter(
            "kt_unsure_pictures", "Pictures answered that the model is not sure enough of to give a label",
            ["model", "version"], registry=self._registry,
        )  # fmt: skip
        self._set_classes = Histogram(
            "kt_set_classes", "Classes in a picture's set", ["model", "version"], buckets=_CLASSES,
            registry=self._registry,
        )  # fmt: skip
        self._explanations = Counter(
            "kt_explanations", "Pictures explained", ["model", "version"], registry=self._registry
        )
        self._batches = Histogram("kt_batch_pictures", "Pictures in a batch", buckets=_BATCHES, registry=self._registry)
        self._versions = Gauge(
            "kt_model_version", "The newest version that answers", ["model"], registry=self._registry
        )
        version = ["model", "version"]
        self._watched = Gauge(
            "kt_drift_pictures", "The latest pictures that are kept to look for drift", version, registry=self._registry
        )
        self._judged = Counter(
            "kt_drift_checks", "Judgements of drift by verdict", [*version, "verdict"], registry=self._registry
        )
        self._drift_p = Gauge("kt_drift_p", "The p value of the latest judgement", version, registry=self._registry)
        self._new = Gauge(
            "kt_drift_new_pictures", "New pictures in the latest judgement", version, registry=self._registry
        )

    def request(self, interface: str, kind: str, *, status: str, seconds: float) -> None:
        """Count an answered request. kind: one of a few words."""
        self._requests.labels(interface, kind, status).inc()
        self._seconds.labels(interface, kind).observe(seconds)

    def pictures(self, servable: "Servable", answer: "Answer") -> None:
        """Count answered pictures, and where the server says so, the unfamiliar and unsure ones and the sets' sizes."""
        where = (servable.name, str(servable.version))
        self._pictures.labels(*where).inc(len(answer.scores))
        if servable.says_unfamiliar:
            self._unfamiliar.labels(*where).inc((answer.unfamiliar or ()).count(True))
        if servable.decision.abstains:
            self._unsure.labels(*where).inc(answer.labels.count(None))
        if (inside := answer.in_set) is not None:
            for size in inside.sum(axis=1).tolist():
                self._set_classes.labels(*where).observe(size)

    def explanation(self, servable: "Servable") -> None:
        """Count an explanation of a picture."""
        self._explanations.labels(servable.name, str(servable.version)).inc()

    def drift(self, servable: "Servable", drift: "Drift") -> None:
        """Count a judgement, and show its p value and how many pictures are new, where these can be told."""
        where = (servable.name, str(servable.version))
        self._judged.labels(*where, drift.verdict).inc()
        if drift.p is not None:
            self._drift_p.labels(*where).set(drift.p)
        if drift.unlike is not None:
            self._new.labels(*where).set(len(drift.unlike.places))

    def batch(self, size: int) -> None:
        """Count a batch. size: its number of pictures."""
        self._batches.observe(size)

    def text(self, store: "ModelStore") -> bytes:
        """The page that Prometheus reads."""
        for name in store.names:
            self._versions.labels(name).set(max(store.loaded(name), default=0))
            for version in store.loaded(name):
                self._watch(store, name, version)
        return generate_latest(self._registry)

    def _watch(self, store: "ModelStore", name: str, version: int) -> None:
        with suppress(Refusal), store.using(name, version=version) as servable:  # it may be unloaded just now
            if servable.window is not None:
                self._watched.labels(name, str(version)).set(len(servable.window))
