"""``twofold map NETWORK --config CONFIG --out FOLDER``: a network's folder to a memory image's folder."""

import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.table import Table

from twofold.golden import container, image_folder
from twofold.golden.config import load_config
from twofold.golden.image import Image
from twofold.mapper.builds import map_network
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command

EXAMPLES = (
    "twofold map build/runs/w4-network --config subset_8x8 --out build/runs/w4-image",
    "twofold fit build/runs/w4-network    which builds it fits, and the smallest build file that does",
)


HEADS = ("layer", "kind", "passes", "cycles", "array", "fetch", "load", "requant", "use %", "acc bits")
#: Letters that a line may have.
WIDTH = 1000


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code: 0, or 2 after one line on stderr."""
    description = "Map a quantized network to the memory image of a build."
    parser = Parser(prog="twofold map", description=description, examples=EXAMPLES)
    parser.add_argument("network", type=Path, help="folder of the quantized network")
    parser.add_argument("--config", type=Path, required=True, help="build, a TOML file or a name of configs/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an older image there is replaced")
    options = parser.parse_args(arguments)
    try:
        image = map_network(container.load(options.network), load_config(options.config))
        image_folder.save(image, options.out)
    except (OSError, ValueError, TypeError) as error:
        return failed(error)
    print(table(image))
    return 0


def table(image: Image) -> str:
    """The layer table for a reader: where the passes and cycles of an inference go."""
    view = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, head in enumerate(HEADS):
        view.add_column(head, justify="left" if number < 2 else "right", no_wrap=True)
    for layer in image.layers:
        spent = (str(count) for count in layer.spent.values())
        use = f"{100 * image.utilisation(layer):.1f}"
        view.add_row(layer.name, layer.kind, str(layer.passes), str(layer.cycles), *spent, use, str(layer.acc_bits))
    total = f"{100 * image.utilisation():.1f}"
    view.add_row("total", "", str(image.passes), str(image.cycles), "", "", "", "", total, str(image.acc_bits))
    console = Console(file=StringIO(), width=WIDTH)
    with console.capture() as captured:
        console.print(view, markup=False, highlight=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


if __name__ == "__main__":
    sys.exit(run_command(main))
