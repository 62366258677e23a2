"""How a check says which rule is broken."""


def hold(holds: object, rule: str) -> None:
    """Raise AssertionError with the rule unless it holds."""
    if not holds:
        raise AssertionError(rule)
