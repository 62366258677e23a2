"""What the model is for and where it ends, from the facts of the run alone; the model card says the same."""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from kt.base.few import FEW
from kt.base.numbers import count, duration, figure, percent
from kt.kinds.kind import Nouns
from kt.report.entry import Entry
from kt.report.reported import ReportedRun
from kt.report.sections import alike
from kt.report.templates import filled

_WEAK = 0.7
"""A class with a lower recall is named among the limits."""

_NAMED = 6
"""The most classes that one sentence names."""

_SURE = 0.02
"""A mean confidence this far from the accuracy is worth saying."""


@dataclass(frozen=True)
class KnownLimits:
    """What a person should know before using the model.

    uses: what it does, in a sentence. limits: a line each. licences: what, and its licence in words. energy: what
    training took, in words.
    """

    uses: str
    limits: tuple[str, ...]
    licences: tuple[tuple[str, str], ...]
    energy: str


def gather(run: ReportedRun) -> KnownLimits | None:
    """The limits; None for a report without test figures."""
    if not run.report["test"] or not run.report["data"]["classes"]:
        return None
    return KnownLimits(_uses(run), tuple(_limits(run)), tuple(_licences(run)), _energy(run.report))


def _uses(run: ReportedRun) -> str:
    data, nouns = run.report["data"], run.nouns
    classes = data["classes"].texts()
    origin = data["origin"].text()
    return (
        f"It gives each {nouns.one} a score for each of {len(classes)} classes: {_list(classes)}. It is meant for "
        f"{nouns.many} like those that it was made from" + (f" ({origin})." if origin else ".")
    )


def _limits(run: ReportedRun) -> Iterator[str]:
    report, nouns = run.report, run.nouns
    data, test = report["data"], report["test"]
    if data["rendered"].flag():
        yield f"The {nouns.many} are rendered. How it does on photos was not measured."
    yield from (f"{_sentence(warning)}" for warning in report["warnings"].texts())
    if report["learned"]["verdict"].text() == "unknown":
        yield _sentence(report["learned"]["reason"].text())
    yield from (_sentence(warning) for warning in report["few_pictures"].texts())
    if report["likeness"]["verdict"].text() == alike.DIFFER:
        yield f"The test {nouns.many} look otherwise than those of training; others still may be answered worse."
    domain = data["test_of"].text()
    whose = f", which are of the {domain} domain" if domain else ""
    yield (
        f"Its figures hold for {nouns.many} like those of the test split{whose}. How it does on others, such as those "
        f"of another {'camera, place or season' if data['image_size'] else 'place or time'}, was not measured."
    )
    images, groups = test["images"].count_or_none(), test["groups"].count_or_none()
    if images and groups and groups < images:
        yield f"The {count(images)} test {nouns.many} show {count(groups)} things only; intervals are drawn over these."
    yield f"It gives every {nouns.one} one of its classes, also one that shows none of them. {_unfamiliar(run)}"
    yield from _of_classes(test, nouns)
    if sure := _confidence(test):
        yield sure
    yield "Whether it is fair to people, safe, or allowed for a purpose was not examined."


def _unfamiliar(run: ReportedRun) -> str:
    """Whether it says of an example that it is unlike anything it learned from."""
    rate = run.report["unfamiliar"]["rate"].number_or_none()
    if rate is None:
        return "Nothing in it says when one is unlike anything that it learned from."
    return (
        f"{_which_say_it(run)} which {run.nouns.many} are unlike anything that it learned from: about {percent(rate)} "
        "of familiar ones, by chance, and not every unfamiliar one."
    )


def _which_say_it(run: ReportedRun) -> str:
    """The beginning of a sentence on the released artefacts that say it; if there are none, on what would."""
    released = [artifact for artifact in run.report["artifacts"] if artifact["released"].flag()]
    say_it = ["Its SavedModel"] if any(artifact["name"].text() == "saved_model" for artifact in released) else []
    say_it += [
        artifact["name"].text()
        for artifact in released
        if artifact["mobile"].flag() and artifact["unfamiliarity_difference"].number_or_none() is not None
    ]
    if not say_it:
        return "Exported as a SavedModel or for phones, it says"
    return f"{_list(say_it)} {'says' if len(say_it) == 1 else 'say'}"


def _of_classes(test: Entry, nouns: Nouns) -> Iterator[str]:
    """The classes that the test shows little of, and those that the model does badly."""
    rows = [(row["label"].name(), row["support"].count(), row["recall"].share_or_none()) for row in test["per_class"]]
    absent = [label for label, support, _ in rows if not support]
    few = [label for label, support, _ in rows if 0 < support < FEW]
    weak = sorted((recall, label, support) for label, support, recall in rows if recall is not None and recall < _WEAK)
    if absent:
        yield f"There is no test {nouns.one} of {_list(absent)}: nothing is known of how it does on them."
    if few:
        yield f"There are fewer than {FEW} test {nouns.many} of {_list(few)}: their figures are uncertain."
    if weak:
        named = [f"{label} ({count(round(recall * support))} of {count(support)})" for recall, label, support in weak]
        yield f"Of these classes it found few test {nouns.many}: {_list(named)}."


def _confidence(test: Entry) -> str:
    """Whether it is too sure of itself, or not sure enough; "" if neither shows."""
    bins = [(each["count"].count(), each) for each in test["calibration"]]
    total = sum(number for number, _ in bins)
    if not total:
        return ""
    confidence, accuracy = (
        sum(number * each[key].share() for number, each in bins if number) / total for key in ("confidence", "accuracy")
    )
    low, high = test["intervals"]["accuracy"].interval_or_none() or (confidence, confidence)
    if low <= confidence <= high or abs(confidence - accuracy) < _SURE:
        return ""  # as far as the test can tell; a few pictures are right more or less often by chance
    how = "too sure of itself" if confidence > accuracy else "less sure than it could be"
    return (
        f"It is {how}: on test its top score is {figure(confidence)} on average, and {percent(accuracy)} of its "
        "answers were right."
    )


def _licences(run: ReportedRun) -> Iterator[tuple[str, str]]:
    weights = run.report["weights"]
    if weights:
        name = weights["name"].text() or "pretrained weights"
        yield f"the weights it began with ({name})", weights["licence"].text() or "unknown to kt"
    drawn = run.report["data"]["rendered"].flag()
    yield f"the {run.nouns.many}", "kt drew them" if drawn else "unknown to kt: ask whoever made them"


def _energy(report: Entry) -> str:
    seconds, joules = report["seconds"].number_or_none(), report["energy_joules"].number_or_none()
    if seconds is None:
        return ""
    took = f"the run took {duration(seconds)}"
    if joules is None:
        return f"{took}; its energy was not measured"
    return (
        f"{took} and {joules / 3600:.3g} Wh, as the processors count them for all that ran on the machine, without "
        "memory and accelerators"
    )


def _list(names: list[str] | tuple[str, ...]) -> str:
    """The first few names, and how many more there are."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "." if text else ""


def html(data: KnownLimits) -> Markup:
    """A sentence, a list, and the licences."""
    return filled("sections/limits", data)
