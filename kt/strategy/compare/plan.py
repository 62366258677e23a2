"""Planning a comparison for its budget: the whole comparison, or less, cutting what matters least first."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kt.base.few import FEW
from kt.base.numbers import duration
from kt.errors import RecipeError
from kt.strategy.compare.comparison import BASELINE
from kt.strategy.compare.cost import Cost, Fitting, Sizes

BUDGET = 15 * 60.0
"""Seconds that a comparison may take by default."""

MARGIN = 0.85
"""The share of the remaining time that the plan uses: estimates from a few steps are rough."""

FEWEST = 200
"""The training split is cut to no fewer pictures than this, and to no fewer than `FEW` of each class on average."""

HELD_OUT = 300
"""Validation and test are cut to no fewer pictures than this."""


@dataclass(frozen=True)
class Plan:
    """What is to be trained.

    names: the strategies. seeds: how many. sizes: how many pictures of each split are used. scratch_epochs: None for a
    comparison without scratch. shares: of the training pictures, for the learning curves. cut: what was left out to
    fit, in words.
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
    """The plan of the whole comparison if it fits into the rest of the budget, in seconds; else a plan that fits.

    It is cut in this order: points of the learning curves, one by one; seeds, down to 2; pictures, down to `FEWEST`;
    epochs of scratch; strategies, the most expensive first, scratch last. Raises RecipeError if not even the cheapest
    strategy fits with two seeds.
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


def plan_as_json(plan: Plan, costs: Mapping[str, Cost], *, measured_in: float) -> dict[str, Any]:
    """The plan and the costs behind it as plain data, to resume a comparison."""
    plain = {name: dataclasses.asdict(cost) for name, cost in costs.items()}
    return {"plan": dataclasses.asdict(plan), "costs": plain, "measured_in": measured_in}


def read_plan(kept: Mapping[str, Any]) -> tuple[Plan, dict[str, Cost], float]:
    """The reverse of `told`, after JSON."""
    plan = kept["plan"]
    lists = {name: tuple(plan[name]) for name in ("names", "shares", "cut")}
    costs = {
        name: Cost(**{**cost, "phases": tuple(Fitting(**phase) for phase in cost["phases"])})
        for name, cost in kept["costs"].items()
    }
    return Plan(**{**plan, **lists, "sizes": Sizes(**plan["sizes"])}), costs, float(kept["measured_in"])


def seconds(plan: Plan, costs: Mapping[str, Cost]) -> float:
    """Seconds that a plan takes."""
    return sum(first(name, plan, costs) + plan.seeds * each(name, plan, costs) for name in plan.names) + curve_shares(
        plan, costs
    )


def first(name: str, plan: Plan, costs: Mapping[str, Cost]) -> float:
    """Seconds that a strategy's first training takes in addition to those of each training."""
    return costs[name].first(plan.sizes)


def each(name: str, plan: Plan, costs: Mapping[str, Cost]) -> float:
    """Seconds of one training of a strategy on all pictures of the plan."""
    cost = costs[name]
    if name == BASELINE and plan.scratch_epochs:
        cost = cost.with_epochs(plan.scratch_epochs)
    return cost.each(plan.sizes)


def curve_shares(plan: Plan, costs: Mapping[str, Cost]) -> float:
    """Seconds of the learning curves of scratch and of the most expensive other strategy: the best is unknown yet."""
    if not plan.shares or BASELINE not in plan.names:
        return 0.0
    other = max((name for name in plan.names if name != BASELINE), key=lambda name: each(name, plan, costs), default="")
    return sum(point(name, share, plan, costs) for name in (BASELINE, other) if name for share in plan.shares)


def point(name: str, share: float, plan: Plan, costs: Mapping[str, Cost]) -> float:
    """Seconds of a point of a strategy's learning curve with every seed."""
    cost = costs[name]
    if name == BASELINE and plan.scratch_epochs:
        cost = cost.with_epochs(plan.scratch_epochs)
    sizes = plan.sizes.with_train(max(1, round(share * plan.sizes.train)))
    return plan.seeds * cost.each(sizes, longer=share**-0.5)


def _fewer_points(plan: Plan, costs: Mapping[str, Cost], room: float) -> Plan:
    """The plan with fewer shares: the largest, which takes longest, goes first, then the smallest, in turn."""
    largest = True
    while plan.shares and seconds(plan, costs) > room:
        plan = dataclasses.replace(plan, shares=plan.shares[:-1] if largest else plan.shares[1:])
        largest = not largest
    return plan


def _fewer_pictures(plan: Plan, costs: Mapping[str, Cost], room: float, *, classes: int) -> Plan:
    """The plan with as many pictures as fit, or the fewest that are allowed."""
    least = min(plan.sizes.train, max(FEWEST, FEW * classes))
    low, high = least, plan.sizes.train
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        fits = seconds(dataclasses.replace(plan, sizes=cut_to(plan.sizes, middle)), costs) <= room
        low, high = (middle, high) if fits else (low, middle)
    return dataclasses.replace(plan, sizes=cut_to(plan.sizes, low))


def cut_to(sizes: Sizes, train: int) -> Sizes:
    """Sizes with this number of training pictures, and the same share of the other splits, but at least `HELD_OUT`."""
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
    """What was cut, in words, in the order of cutting."""
    cut = []
    if epochs and len(plan.shares) < len(shares) and len(names) > 1:
        kept = ", ".join(f"{share:.0%}" for share in plan.shares)
        cut.append(f"learning curves of {kept} and all of the pictures alone" if kept else "no learning curves")
    if plan.seeds < seeds:
        cut.append(f"{plan.seeds} seeds of {seeds}")
    for what, used, total in (
        ("training", plan.sizes.train, sizes.train),
        ("validation", plan.sizes.validation, sizes.validation),
        ("test", plan.sizes.test, sizes.test),
    ):
        if used < total:
            cut.append(f"{used:,} of {total:,} {what} pictures")
    if epochs and plan.scratch_epochs and plan.scratch_epochs < epochs:
        cut.append(f"scratch for {plan.scratch_epochs} of {epochs} epochs")
    gone = [name for name in names if name not in plan.names]
    if gone:
        cut.append(f"without {', '.join(gone)}")
    return tuple(cut)


def as_json(plan: Plan, costs: Mapping[str, Cost], **further: Any) -> dict[str, Any]:
    """The plan as plain data for `compare.json`. further: more keys, which come first."""
    return {
        **further,
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
    """Epochs of a strategy in total; 0 for a probe."""
    if name == BASELINE and plan.scratch_epochs:
        return plan.scratch_epochs
    return costs[name].epochs
