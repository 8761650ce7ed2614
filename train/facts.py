"""What quantizers say of themselves for reports, put together."""

from collections.abc import Iterable, Mapping


def ratios(facts: Iterable[Mapping[str, tuple[float, float]]]) -> dict[str, float]:
    """Sum of all parts over the sum of all wholes, by name."""
    sums: dict[str, tuple[float, float]] = {}
    for fact in facts:
        for name, (part, whole) in fact.items():
            before = sums.get(name, (0.0, 0.0))
            sums[name] = (before[0] + part, before[1] + whole)
    return {name: part / whole for name, (part, whole) in sums.items()}
