"""What the runner tells a bench, as JSON in the simulator's environment."""

import json
import os
from dataclasses import asdict
from typing import Any

from twofold.golden.config import ArrayConfig

VARIABLE = "BENCH_SETTINGS"


def write(config: ArrayConfig, **values: object) -> dict[str, object]:
    """Settings for a bench of one build."""
    return {"config": asdict(config), **values}


def read() -> dict[str, Any]:
    """The settings, within a bench; `config` is an `ArrayConfig`."""
    values = json.loads(os.environ[VARIABLE])
    return {**values, "config": ArrayConfig(**values["config"])}
