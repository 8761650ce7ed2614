"""``python -m synth --config configs/log_8x8.toml``: cells of a build on ECP5, and its multipliers (none)."""

import argparse
import json
import sys
from pathlib import Path

from golden.config import load_config
from golden.files import write_text
from synth.area import synthesise

SHOWN = ("LUT4", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4", "DP16KD")


def main(arguments: list[str] | None = None) -> int:
    """Synthesise builds; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m synth", description="Synthesise builds for ECP5.")
    parser.add_argument("--config", type=Path, nargs="+", required=True, help="builds, TOML files in configs/")
    parser.add_argument("--out", type=Path, default=Path("build/synth"), help="folder to write to")
    options = parser.parse_args(arguments)
    try:
        configs = [load_config(path) for path in options.config]
        rows = []
        for config in configs:
            print(f"{config.name}: synthesising", flush=True)
            result = synthesise(config, options.out / config.name)
            rows.append(result.as_dict())
            shown = ", ".join(f"{name} {result.cells.get(name, 0)}" for name in SHOWN)
            print(f"{config.name}: {shown}, multipliers {result.multipliers}")
        report = options.out / "report.json"
        write_text(report, json.dumps({"builds": rows}, indent=2) + "\n")
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"report: {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
