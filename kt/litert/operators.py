"""Which operators of a TFLite model an output needs."""

from typing import Any


def needed_by(graph: Any, output: int) -> list[Any]:
    """The operators, in their order, by which the subgraph's output with this number is computed."""
    maker = {int(index): operator for operator in graph.operators for index in operator.outputs}
    needed: set[int] = set()
    waiting = [int(graph.outputs[output])]
    while waiting:
        operator = maker.get(waiting.pop())
        if operator is not None and id(operator) not in needed:
            needed.add(id(operator))
            waiting += map(int, operator.inputs)
    return [operator for operator in graph.operators if id(operator) in needed]


def beside_the_first(graph: Any) -> list[Any]:
    """The operators, in their order, that the subgraph's first output does not need."""
    first = {id(operator) for operator in needed_by(graph, 0)}
    return [operator for operator in graph.operators if id(operator) not in first]
