"""``twofold map NETWORK --config CONFIG --out FOLDER``: a network's folder to a memory image's folder."""

import sys
from pathlib import Path

from twofold.golden import container, image_folder
from twofold.golden.config import load_config
from twofold.mapper.builds import map_network
from twofold.mapper.layer_table import layer_table
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command

EXAMPLES = (
    "twofold map build/runs/w4-network --config subset_8x8 --out build/runs/w4-image",
    "twofold map NETWORK --config log_8x8 --out IMAGE --picture timeline.svg    and where the cycles go, drawn",
    "twofold fit build/runs/w4-network    which builds it fits, and the smallest build file that does",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code: 0, or 2 after one line on stderr."""
    description = "Map a quantized network to the memory image of a build."
    parser = Parser(prog="twofold map", description=description, examples=EXAMPLES)
    parser.add_argument("network", type=Path, help="folder of the quantized network")
    parser.add_argument("--config", type=Path, required=True, help="build, a TOML file or a name of configs/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an older image there is replaced")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="SVG file to write: where the cycles go by layer")
    options = parser.parse_args(arguments)
    try:
        image = map_network(container.load(options.network), load_config(options.config))
        if options.picture:
            from twofold.mapper.timeline import save_timeline

            save_timeline([image], options.picture)
        image_folder.save(image, options.out)
    except (OSError, ValueError, TypeError) as error:
        return failed(error)
    print(layer_table(image))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
