"""What is trained in the time there is: all of it, or less, in a fixed order of what matters least."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kt.errors import RecipeError
from kt.report.numbers import duration
from kt.strategy.compare.comparison import BASELINE
from kt.strategy.compare.cost import Cost, Sizes

BUDGET = 15 * 60.0
"""Seconds that a comparison may take unless told otherwise."""

MARGIN = 0.85
"""The share of the time left that is planned with: estimates from a few steps are rough."""

FEWEST = 200
"""Training pictures to which a set is cut, at the least, and 20 of each class."""

HELD_OUT = 300
"""Pictures to which validation and test are cut with it, at the least."""


@dataclass(frozen=True)
class Plan:
    """What is to be trained.

    names: the ways. seeds: how many. pictures: of each split, what is used. scratch_epochs: None for a comparison
    without scratch. shares: of the training pictures, for the learning curves. cut: what was left out to fit, in words.
    """

    names: tuple[str, ...]
    seeds: int
    sizes: Sizes
    scratch_epochs: int | None
    shares: tuple[float, ...]
    cut: tuple[str, ...] = ()


def make(
    costs: Mapping[str, Cost],
    sizes: Sizes,
    *,
    classes: int,
    seeds: int,
    shares: Sequence[float],
    budget: float,
    spent: float,
) -> Plan:
    """The whole comparison where it fits into what is left of the budget, in seconds; else what fits.

    It is cut in this order: points of the learning curves, one by one; seeds, down to 2; pictures, down to `FEWEST`;
    epochs of scratch; ways, the dearest first, scratch last. Raises RecipeError where not even the cheapest fits
    twice.
    """
    scratch = (costs[BASELINE].epochs or None) if BASELINE in costs else None
    plan = Plan(tuple(costs), seeds, sizes, scratch, tuple(sorted(shares)) if scratch and len(costs) > 1 else ())
    room = MARGIN * (budget - spent)
    plan = _fewer_points(plan, costs, room)
    while seconds(plan, costs) > room and plan.seeds > 2:
        plan = dataclasses.replace(plan, seeds=plan.seeds - 1)
    if seconds(plan, costs) > room:
        plan = _fewer_pictures(plan, costs, room, classes=classes)
    while seconds(plan, costs) > room and plan.scratch_epochs and plan.scratch_epochs > 1:
        plan = dataclasses.replace(plan, scratch_epochs=plan.scratch_epochs // 2)
    while seconds(plan, costs) > room and len(plan.names) > 1:
        plan = _without_the_dearest(plan, costs)
    if seconds(plan, costs) > room:
        least = seconds(plan, costs) / MARGIN
        raise RecipeError(
            f"The budget of {duration(budget)} is too small to compare anything: reading and measuring took "
            f"{duration(spent)}, and training {plan.names[0]} {plan.seeds} times takes about {duration(least)}. Give "
            f"it more, such as --budget {math.ceil((spent + 1.2 * least) / 60)}m."
        )
    return dataclasses.replace(
        plan, cut=_said(plan, sizes, names=list(costs), seeds=seeds, epochs=scratch, shares=shares)
    )


def seconds(plan: Plan, costs: Mapping[str, Cost]) -> float:
    """What a plan takes."""
    return sum(first(name, plan, costs) + plan.seeds * each(name, plan, costs) for name in plan.names) + curves(
        plan, costs
    )


def first(name: str, plan: Plan, costs: Mapping[str, Cost]) -> float:
    """What a way's first training takes beside what each does."""
    return costs[name].first(plan.sizes)


def each(name: str, plan: Plan, costs: Mapping[str, Cost]) -> float:
    """What one training of a way on all pictures of the plan takes."""
    cost = costs[name]
    if name == BASELINE and plan.scratch_epochs:
        cost = cost.with_epochs(plan.scratch_epochs)
    return cost.each(plan.sizes)


def curves(plan: Plan, costs: Mapping[str, Cost]) -> float:
    """The learning curves of scratch, and of the dearest other way, since the best is not known yet."""
    if not plan.shares or BASELINE not in plan.names:
        return 0.0
    other = max((name for name in plan.names if name != BASELINE), key=lambda name: each(name, plan, costs), default="")
    return sum(point(name, share, plan, costs) for name in (BASELINE, other) if name for share in plan.shares)


def point(name: str, share: float, plan: Plan, costs: Mapping[str, Cost]) -> float:
    """A point of a way's learning curve with every seed."""
    cost = costs[name]
    if name == BASELINE and plan.scratch_epochs:
        cost = cost.with_epochs(plan.scratch_epochs)
    sizes = plan.sizes.with_train(max(1, round(share * plan.sizes.train)))
    return plan.seeds * cost.each(sizes, longer=share**-0.5)


def _fewer_points(plan: Plan, costs: Mapping[str, Cost], room: float) -> Plan:
    """Without the largest share first, which takes longest, then the smallest, in turn."""
    largest = True
    while plan.shares and seconds(plan, costs) > room:
        plan = dataclasses.replace(plan, shares=plan.shares[:-1] if largest else plan.shares[1:])
        largest = not largest
    return plan


def _fewer_pictures(plan: Plan, costs: Mapping[str, Cost], room: float, *, classes: int) -> Plan:
    """With the largest share of the pictures that fits, or the fewest."""
    least = min(plan.sizes.train, max(FEWEST, 20 * classes))
    low, high = least, plan.sizes.train
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        fits = seconds(dataclasses.replace(plan, sizes=cut_to(plan.sizes, middle)), costs) <= room
        low, high = (middle, high) if fits else (low, middle)
    return dataclasses.replace(plan, sizes=cut_to(plan.sizes, low))


def cut_to(sizes: Sizes, train: int) -> Sizes:
    """So many training pictures, and of the others the same share, but `HELD_OUT` at least."""
    share = train / sizes.train
    held_out = [min(size, max(HELD_OUT, round(share * size))) for size in (sizes.validation, sizes.test)]
    return dataclasses.replace(sizes, train=train, validation=held_out[0], test=held_out[1])


def _without_the_dearest(plan: Plan, costs: Mapping[str, Cost]) -> Plan:
    others = [name for name in plan.names if name != BASELINE]
    if len(others) > 1 or (others and BASELINE not in plan.names):
        gone = max(others, key=lambda name: each(name, plan, costs) + first(name, plan, costs))
    else:
        gone = BASELINE
    names = tuple(name for name in plan.names if name != gone)
    return dataclasses.replace(plan, names=names, scratch_epochs=plan.scratch_epochs if BASELINE in names else None)


def _said(
    plan: Plan, sizes: Sizes, *, names: Sequence[str], seeds: int, epochs: int | None, shares: Sequence[float]
) -> tuple[str, ...]:
    """What was cut, a line each, in the order in which it was."""
    found = []
    if epochs and len(plan.shares) < len(shares) and len(names) > 1:
        kept = ", ".join(f"{share:.0%}" for share in plan.shares)
        found.append(f"learning curves of {kept} and all of the pictures alone" if kept else "no learning curves")
    if plan.seeds < seeds:
        found.append(f"{plan.seeds} seeds of {seeds}")
    for what, used, there in (
        ("training", plan.sizes.train, sizes.train),
        ("validation", plan.sizes.validation, sizes.validation),
        ("test", plan.sizes.test, sizes.test),
    ):
        if used < there:
            found.append(f"{used:,} of {there:,} {what} pictures")
    if epochs and plan.scratch_epochs and plan.scratch_epochs < epochs:
        found.append(f"scratch for {plan.scratch_epochs} of {epochs} epochs")
    gone = [name for name in names if name not in plan.names]
    if gone:
        found.append(f"without {', '.join(gone)}")
    return tuple(found)


def as_json(plan: Plan, costs: Mapping[str, Cost], **told: Any) -> dict[str, Any]:
    """What is told of a plan in `compare.json`."""
    return {
        **told,
        "pictures": {"train": plan.sizes.train, "validation": plan.sizes.validation, "test": plan.sizes.test},
        "seeds": plan.seeds,
        "shares": list(plan.shares),
        "estimated_seconds": round(seconds(plan, costs), 1),
        "cut": list(plan.cut),
        "strategies": [
            {
                "name": name,
                "epochs": epochs_of(name, plan, costs),
                "steps": plan.sizes.steps(epochs_of(name, plan, costs)),
                "seconds": round(each(name, plan, costs), 1),
            }
            for name in plan.names
        ],
    }


def epochs_of(name: str, plan: Plan, costs: Mapping[str, Cost]) -> int:
    """Epochs of a way in total; 0 for a probe."""
    if name == BASELINE and plan.scratch_epochs:
        return plan.scratch_epochs
    return costs[name].epochs
