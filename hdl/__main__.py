"""``twofold emit --config configs/log_8x8.toml --out build/verilog``: Verilog and its listing, without torch."""

import json
import sys
from pathlib import Path

from twofold.golden.config import load_config
from twofold.hdl.emit import emit, top_name
from twofold.hdl.listing import listing, listing_markdown
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command
from twofold.support.files import write_together
from twofold.support.output import build_folder

EXAMPLES = (
    "twofold emit --config log_8x8",
    "twofold emit --config mine.toml --out verilog",
)


def main(arguments: list[str] | None = None) -> int:
    """Emit one build; returns the exit code."""
    parser = Parser(prog="twofold emit", description="Emit the Verilog of a build.", examples=EXAMPLES)
    parser.add_argument("--config", type=Path, required=True, help="build, a TOML file or a name of configs/")
    parser.add_argument("--out", type=Path, default=build_folder("verilog"), help="folder to write to")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        texts = {
            ".v": emit(config),
            ".md": listing_markdown(config),
            ".json": json.dumps(listing(config), indent=2) + "\n",
        }
        write_together(options.out, {f"{top_name(config)}{suffix}": text for suffix, text in texts.items()})
    except (OSError, TypeError, ValueError) as error:
        return failed(error)
    print(f"{options.out / top_name(config)}.v: {texts['.v'].count(chr(10))} lines, hash {config.build_hash:08x}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
