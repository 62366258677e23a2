"""The model card: what a person should know of a model before using it, as Markdown, from `report.json` alone.

Its parts are those of Mitchell et al., Model Cards for Model Reporting, 2019, as far as a run knows them.
"""

from collections.abc import Iterator
from pathlib import PurePath

from kt.base.markdown import code, escaped, table
from kt.base.numbers import change, count, duration, figure, interval, percent, size
from kt.report.reported import ReportedRun
from kt.report.sections import artifacts, calibration, findings, headlines, limits, per_class
from kt.report.sections.training import kept_of, phases_of

_MOST_CLASSES = 50
"""With more classes, only those with the lowest F1 have a row."""

_TAGS = {"pictures": "image-classification", "rows": "tabular-classification"}


def model_card(run: ReportedRun) -> str:
    """The content of `MODEL_CARD.md`. All names are escaped. Raises ReleaseError for a damaged report."""
    parts = (_head, _model, _use, _figures, _classes, _data, _artifacts, _licences, _training)
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part(run)))) + "\n"


def _head(run: ReportedRun) -> Iterator[str]:
    report = run.report
    if tag := _TAGS.get(report["data"]["kind"].text()):
        yield from ("---", f"pipeline_tag: {tag}", "---", "")
    yield f"# {escaped(report['recipe']['name'].text() or 'Model')}"
    if description := report["recipe"]["description"].text():
        yield from ("", escaped(description))
    if report["data"]["rendered"].flag():
        yield from ("", "**Rendered pictures, not photos: the figures say nothing about real ones.**")


def _model(run: ReportedRun) -> Iterator[str]:
    report, data = run.report, run.report["data"]
    pixels = data["image_size"]
    yield from ("## The model", "")
    facts = [
        ("made by", f"kt {report['kt'].text()}".strip()),
        ("made on", report["started"].text()[:10]),
        ("version", str(report["version"].count_or_none() or "not released")),
        ("classes", ", ".join(data["classes"].texts())),
        ("input", f"{' by '.join(str(side.count()) for side in pixels.row(2))} pixels, RGB" if pixels else ""),
        ("began with", report["weights"]["name"].text() or "random weights"),
        ("SHA-256 of these weights", report["weights"]["sha256"].text()),
    ]
    yield from (f"- {name}: {escaped(value)}" for name, value in facts if value)


def _use(run: ReportedRun) -> Iterator[str]:
    known = limits.gather(run)
    if known is None:
        return
    yield from ("## Use and limits", "", escaped(known.uses), "")
    yield from (f"- {escaped(limit)}" for limit in known.limits)


def _figures(run: ReportedRun) -> Iterator[str]:
    known = headlines.gather(run)
    if known is None:
        return
    yield from ("## Figures", "", f"Measured once, on {known.measured_on}.", "")
    rows = [(each.title, figure(each.value), interval(each.interval)) for each in known.figures]
    yield from table(("figure", "value", "95% interval"), rows)
    learned = run.report["learned"]
    if learned["chance"].number_or_none() is not None:
        verdict = learned["verdict"].text().replace("unknown", "not known, for the test is too small")
        yield ""
        yield (
            f"Better than chance, which is a balanced accuracy of {figure(learned['chance'].number())}: {verdict}. "
            "The calibration error tells how far its scores are from the shares that were right, 0 to 1."
        )
    if (calibrated := calibration.gather(run)) and calibrated.in_words:
        yield from ("", escaped(" ".join(calibrated.in_words)))


def _classes(run: ReportedRun) -> Iterator[str]:
    known = per_class.gather(run)
    if known is None:
        return
    rows = sorted(known.rows, key=lambda row: 2.0 if row.f1 is None else row.f1)[:_MOST_CLASSES]
    shown_rows = rows if len(rows) < len(known.rows) else known.rows
    yield from ("### By class" + (f", the {len(rows)} worst" if shown_rows is rows else ""), "")
    yield from table(
        ("class", "precision", "recall", "F1", f"test {run.nouns.many}"),
        [
            (escaped(row.label), figure(row.precision), figure(row.recall), figure(row.f1), count(row.support))
            for row in shown_rows
        ],
    )


def _data(run: ReportedRun) -> Iterator[str]:
    data = run.report["data"]
    counts = data["counts"].items()
    if not counts:
        return
    yield from ("## Data", "")
    if origin := data["origin"].text():
        yield from (escaped(origin), "")
    classes = data["classes"].texts()[:_MOST_CLASSES]
    rows = [(escaped(label), *(count(split[label].count_or_none()) for _, split in counts)) for label in classes]
    all_of = (count(sum(number.count() for _, number in split.items())) for _, split in counts)
    yield from table(("class", *(escaped(name) for name, _ in counts)), [*rows, ("all", *all_of)])
    yield ""
    skipped = len(tuple(data["skipped"]))
    notes = [*data["notes"].texts(), *([f"{count(skipped)} files could not be read"] if skipped else [])]
    yield from (f"- {escaped(note)}" for note in notes)
    if (known := findings.gather(run)) and known.kinds:
        found = "; ".join(f"{kind.title}: {count(kind.count)} ({kind.severity})" for kind in known.kinds)
        yield f"- what may be wrong with it: {found}"
    if digest := data["digest"].text():
        yield f"- SHA-256 over each example's split, class and content: {code(digest)}"


def _artifacts(run: ReportedRun) -> Iterator[str]:
    known = artifacts.gather(run)
    if known is None:
        return
    yield from ("## Artefacts", "")
    yield f"Each was loaded from its file again, and answered the test {run.nouns.many}. The gate compared its answers"
    yield "with the trained model's."
    yield ""
    yield from table(
        ("artefact", "gate", "same answer", "change in accuracy", "size"),
        [
            (code(_name(each)), "released" if each.released else "refused", percent(each.agreement),
             change(each.accuracy_change), size(each.bytes))
            for each in known.artifacts
        ],
    )  # fmt: skip
    reasons = [(each.name, each.reason) for each in known.artifacts if each.reason]
    if reasons:
        yield ""
        yield from (f"- {code(name)} was refused: {escaped(reason)}" for name, reason in reasons)


def _name(artifact: artifacts.ReportedArtifact) -> str:
    """The file's name, without the folders that it lies in on one machine."""
    return PurePath(artifact.path).name if artifact.path and artifact.name != "saved_model" else artifact.name


def _licences(run: ReportedRun) -> Iterator[str]:
    known = limits.gather(run)
    if known is None:
        return
    yield from ("## Licences", "")
    yield from (f"- {escaped(what)}: {escaped(licence)}" for what, licence in known.licences)


def _training(run: ReportedRun) -> Iterator[str]:
    report, known, kept = run.report, limits.gather(run), kept_of(run)
    yield from ("## How it was made", "")
    for phase in phases_of(run):
        trained = f"{count(phase.trainable_parameters)} of {count(phase.total_parameters)} parameters"
        how = "solved" if phase.probe else f"{phase.epochs_run or 0} epochs"
        yield f"- {escaped(phase.name)}: {how}, {trained}, {duration(phase.seconds)}"
    if kept:
        epoch = f", epoch {kept.epoch}" if kept.epoch is not None else ""
        yield f"- kept: the weights of {escaped(kept.phase)}{epoch}, those with the lowest validation loss"
    facts = [
        ("command", code(report["command"].text())),
        ("seed", escaped(str(report["seed"].value)) if report["seed"].number_or_none() is not None else ""),
        ("backend", escaped(report["backend"].text())),
        ("versions", escaped(", ".join(f"{name} {version.text()}" for name, version in report["versions"].items()))),
        ("machine", escaped(", ".join(f"{name} {fact.value}" for name, fact in report["machine"].items()))),
        ("time and energy", escaped(known.energy) if known else ""),
    ]
    yield from (f"- {name}: {value}" for name, value in facts if value)
    yield from ("", "The same facts for programs are in the run's `report.json`.")
