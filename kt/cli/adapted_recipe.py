"""The recipe that `kt adapt --write` writes: the text of the recipe that was given, with other phases behind it."""

import dataclasses
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kt.cli.new_recipe import as_literal, in_words, rendered
from kt.recipe import TOP, Loaded, Phase, Recipe, streams_of
from kt.recipe.without_target import features_of, source_steps

if TYPE_CHECKING:
    from kt.strategy.adapt import WayToAdapt


def adapted_text(
    loaded: Loaded, recipe: Recipe, candidate: "WayToAdapt", results: Mapping[str, Any], *, target: str | None
) -> str:
    """The text of the recipe.

    loaded: the recipe as it was given. recipe: with the command line's changes. candidate: the way to adapt. results:
    the content of `adapt.json`. target: what --target gave, if anything.
    """
    from kt.data import Domains
    from kt.report.adaptation import sentences

    phases, names = _source_code(recipe), set[str]()
    features = features_of(recipe)
    if candidate.objective is not None:
        names |= {"Phase", type(candidate.objective).__name__}
        phases.append(_phase_code(candidate.adapting(recipe)[0], recipe))
    elif candidate.step is not None:
        phases.append(_step_code(candidate.adapting(recipe)[0], recipe))
        names.add(phases[-1].partition("(")[0])
    elif adapting := candidate.adapting(recipe):
        names.add("AdaptedProbe")
        method = f"method={type(adapting[0].method).__name__}()"
        phases.append(f"AdaptedProbe({', '.join(filter(None, [_features_code(features), method]))})")
    names |= {"LinearProbe"} if any(phase.startswith("LinearProbe") for phase in phases) else set()
    there = _target(recipe.data.target, labelled=results["target"]["labelled"]) if target else None  # type: ignore[attr-defined]
    return rendered(
        "adapted.py.jinja",
        text=(loaded.text or loaded.file.read_text(encoding="utf-8")).rstrip(),
        why=textwrap.wrap(in_words(" ".join(sentences(results))), 116),
        names=sorted(names),
        method=type(candidate.method).__name__ if "AdaptedProbe" in names else "",
        target="" if there is None else repr(there),
        target_class=type(there).__name__,
        replaces=isinstance(loaded.recipe.data, Domains),
        last_blocks=any("last_blocks" in phase for phase in phases),
        phases=phases,
    )


def _source_code(recipe: Recipe) -> list[str]:
    """The code of the steps that learn from the source: the recipe's own where they need no change."""
    steps, own = source_steps(recipe), list(recipe.phases)
    if steps == own[: len(steps)]:
        return ["*recipe.phases" if len(steps) == len(own) else f"*recipe.phases[:{len(steps)}]"]
    if all(step not in own and not isinstance(step, Phase) for step in steps):
        return [f"LinearProbe({_features_code(features_of(recipe))})"]
    places = [place for place, step in enumerate(own) if isinstance(step, Phase) or not streams_of(step)]
    return [
        f"recipe.phases[{place}]"
        if step == own[place]
        else f"dataclasses.replace(recipe.phases[{place}], objective=None)"
        for place, step in zip(places, steps, strict=True)
    ]


def _phase_code(phase: Any, recipe: Recipe) -> str:
    """The code of the phase with an objective: the recipe's own with another name, or a new one."""
    objective = f'name="adapt", objective={type(phase.objective).__name__}()'
    for place, step in reversed(list(enumerate(recipe.phases))):
        if isinstance(step, Phase) and dataclasses.replace(step, name="adapt", objective=phase.objective) == phase:
            return f"dataclasses.replace(recipe.phases[{place}], {objective})"
    return f"Phase(trainable=last_blocks(2), epochs={phase.epochs}, lr={phase.lr:g}, {objective})"


def _step_code(step: Any, recipe: Recipe) -> str:
    """The code of a step that adapts the network to the target alone."""
    name = type(step).__name__
    if not hasattr(step, "trainable") or not hasattr(step, "epochs"):
        return f"{name}()"
    for place, phase in reversed(list(enumerate(recipe.phases))):
        if isinstance(phase, Phase) and phase.trainable is step.trainable:
            own = f"recipe.phases[{place}]"
            return f"{name}(trainable={own}.trainable, epochs={own}.epochs, lr={own}.lr)"
    return f"{name}(trainable=last_blocks(2), epochs={step.epochs}, lr={step.lr:g})"


def _features_code(features: Any) -> str:
    """The argument of a probe for its features; empty for the top."""
    if isinstance(features, str):
        return "" if features == TOP else f"features={as_literal(features)}"
    return f"features=[{', '.join(map(as_literal, features))}]"


def _target(target: Any, *, labelled: bool) -> Any:
    """The target domain as a data source that a recipe can name."""
    from kt.data import Unlabelled
    from kt.data.sources import places_of
    from kt.data.sources.domains import PerhapsLabelled

    if not isinstance(target, PerhapsLabelled):
        return target
    place = str(next(iter(places_of(target.labelled).values())))
    return target.labelled if labelled else Unlabelled(place)
