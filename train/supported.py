"""The names that `convert` knows, for docs/training.md: `python -m twofold.train.supported` prints the table."""

from twofold.train.graph import TYPES
from twofold.train.lower import HANDLERS
from twofold.train.own_weights import LAYERS
from twofold.train.pointwise import FUNCTIONS


def table() -> str:
    """Modules, and functions, methods and operators, in Markdown."""
    calls = sorted({*HANDLERS, *LAYERS, *FUNCTIONS})
    rows = {
        "modules of `torch.nn`": TYPES,
        "functions and methods of PyTorch and of Python, in place (`add_`) too, and operators of ATen": calls,
        "those of them that take weights, which must be the model's own": sorted(LAYERS),
        "those of them that are looked up in tables": sorted(FUNCTIONS),
    }
    lines = ["| kind | names |", "|---|---|"]
    lines += [f"| {kind} | {', '.join(f'`{name}`' for name in names)} |" for kind, names in rows.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
