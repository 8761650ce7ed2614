"""Where the passes and cycles of an inference go, as a table for a reader: a line a layer, then all, then shares."""

from io import StringIO

from rich.console import Console
from rich.table import Table

from twofold.golden.causes import LOST
from twofold.golden.image import Image

HEADS = ("layer", "kind", "passes", "cycles", *(name.removesuffix("iser") for name in LOST), "use %", "acc bits")
#: Letters that a line may have.
WIDTH = 1000


def layer_table(image: Image) -> str:
    """Passes and cycles of every layer, these by `golden.causes.LOST`, utilisation and accumulator bits."""
    view = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, head in enumerate(HEADS):
        view.add_column(head, justify="left" if number < 2 else "right", no_wrap=True)
    for layer in image.layers:
        spent = (str(count) for count in layer.lost.values())
        use = f"{100 * image.utilisation(layer):.1f}"
        view.add_row(layer.name, layer.kind, str(layer.passes), str(layer.cycles), *spent, use, str(layer.acc_bits))
    spent = (str(count) for count in image.lost.values())
    use = f"{100 * image.utilisation():.1f}"
    view.add_row("total", "", str(image.passes), str(image.cycles), *spent, use, str(image.acc_bits))
    shares = (f"{100 * count / image.cycles:.1f}" for count in image.lost.values())
    view.add_row("of cycles, %", "", "", "100.0", *shares, "", "")
    console = Console(file=StringIO(), width=WIDTH)
    with console.capture() as captured:
        console.print(view, markup=False, highlight=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
