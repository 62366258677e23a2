"""The recipe that `kt adapt --write` writes: the text of the recipe that was given, with other phases behind it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kt.cli.new_recipe import as_literal, in_words, rendered
from kt.recipe import Loaded, Recipe

if TYPE_CHECKING:
    from kt.strategy.adapt import Candidate


def adapted_text(
    loaded: Loaded, recipe: Recipe, candidate: "Candidate", results: Mapping[str, Any], *, target: str | None
) -> str:
    """The text of the recipe.

    loaded: the recipe as it was given. recipe: with the command line's changes. candidate: the way to adapt. results:
    the content of `adapt.json`. target: what --target gave, if anything.
    """
    from kt.data import Domains
    from kt.report.adaptation import sentences

    probe, *others = candidate.phases(recipe)
    features = probe.features if isinstance(probe.features, str) else list(probe.features)
    chosen = "" if features == "top" else f"features={_literal(features)}"
    phases, names = [f"LinearProbe({chosen})"], {"LinearProbe"}
    if candidate.method is not None and others:
        names.add("AdaptedProbe")
        method = type(candidate.method).__name__
        phases.append(f"AdaptedProbe({', '.join(filter(None, [chosen, f'method={method}()']))})")
    elif others:
        names |= {"Phase", type(candidate.objective).__name__}
        phases.append(_phase(recipe, candidate))
    there = _target(recipe.data.target, labelled=results["target"]["labelled"]) if target else None  # type: ignore[attr-defined]
    return rendered(
        "adapted.py.jinja",
        text=(loaded.text or loaded.file.read_text(encoding="utf-8")).rstrip(),
        why=in_words(" ".join(sentences(results))),
        names=sorted(names - {"LinearProbe"} | {"LinearProbe"}),
        method=type(candidate.method).__name__ if candidate.method is not None and others else "",
        target="" if there is None else repr(there),
        target_class=type(there).__name__,
        replaces=isinstance(loaded.recipe.data, Domains),
        last_blocks=any("last_blocks" in phase for phase in phases),
        phases=phases,
    )


def _phase(recipe: Recipe, candidate: "Candidate") -> str:
    """The code of the phase with the candidate's objective: the recipe's last, or a new one."""
    from kt.recipe import Phase

    objective = f"objective={type(candidate.objective).__name__}()"
    places = [place for place, step in enumerate(recipe.phases) if isinstance(step, Phase)]
    if places:
        return f"dataclasses.replace(recipe.phases[{places[-1]}], {objective})"
    return f'Phase("adapt", trainable=last_blocks(2), epochs=10, lr=1e-4, {objective})'


def _target(target: Any, *, labelled: bool) -> Any:
    """The target domain as a data source that a recipe can name."""
    from kt.data import Unlabelled
    from kt.data.sources import places_of
    from kt.data.sources.domains import PerhapsLabelled

    if not isinstance(target, PerhapsLabelled):
        return target
    place = str(next(iter(places_of(target.labelled).values())))
    return target.labelled if labelled else Unlabelled(place)


def _literal(features: Any) -> str:
    return as_literal(features) if isinstance(features, str) else f"[{', '.join(map(as_literal, features))}]"
