"""The demo's results: rows of the table, report.json, and one page with pictures."""

import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment
from rich.table import Table

from twofold.demo import pictures, steps
from twofold.demo.pictures import encoded
from twofold.demo.variants import Outcome
from twofold.support.files import write_text
from twofold.train.data import DataSet

PAGE = Path(__file__).with_name("page.html")

TITLES = {
    "float_accuracy": "float",
    "fake_quant_accuracy": "fake-quant",
    "torch_accuracy": "PyTorch int",
    "golden_accuracy": "golden",
    "rtl_accuracy": "RTL",
    "rtl_images": "RTL images",
    "mismatches": "mismatches",
    "weight_bits": "weight bits",
    "two_word_ratio": "two-word",
    "cycles_predicted": "cycles predicted",
    "cycles_simulated": "simulated",
    "utilisation": "utilisation",
    "multipliers": "multipliers",
}


def rows(outcomes: Sequence[Outcome], errors: Sequence[dict[str, float]]) -> list[dict[str, object]]:
    """One dictionary a variant, with the keys of report.json."""
    return [
        {
            "name": outcome.variant.name,
            "recipe": outcome.variant.recipe,
            "config": outcome.variant.config,
            "pe": outcome.image.config.pe,
            "float_accuracy": outcome.quantized.float_accuracy,
            "fake_quant_accuracy": outcome.quantized.accuracy,
            "torch_accuracy": outcome.torch_accuracy,
            "golden_accuracy": outcome.golden_accuracy,
            "rtl_accuracy": outcome.rtl_accuracy,
            "rtl_images": outcome.rtl_images,
            "mismatches": outcome.mismatches,
            "compared": outcome.compared,
            "cycles_predicted": outcome.image.cycles,
            "cycles_simulated": outcome.cycles_simulated,
            "utilisation": outcome.image.utilisation(),
            "lost": outcome.image.lost,
            "two_word_ratio_asked": outcome.network.meta.get("two_word_ratio_asked"),
            "two_word_ratio": outcome.network.meta.get("two_word_ratio"),
            "weight_bits": outcome.network.meta["weight_bits"],
            "multipliers": outcome.multipliers,
            "layers": [
                {
                    "name": layer.name,
                    "passes": layer.passes,
                    "cycles": layer.cycles,
                    "lost": layer.lost,
                    "utilisation": outcome.image.utilisation(layer),
                    "acc_bits": layer.acc_bits,
                    "error": error[layer.name],
                }
                for layer in outcome.image.layers
            ],
        }
        for outcome, error in zip(outcomes, errors, strict=True)
    ]


def cell(row: dict[str, object], key: str) -> str:
    """A figure as the tables show it."""
    value = row[key]
    if key == "two_word_ratio":
        asked = row["two_word_ratio_asked"]
        return "-" if asked is None else f"{100 * float(str(asked)):.1f} -> {100 * float(str(value)):.1f} %"
    if key.endswith("accuracy"):
        return f"{100 * float(str(value)):.2f} %"
    if key == "utilisation":
        return f"{100 * float(str(value)):.1f} %"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def terminal_table(results: Sequence[dict[str, object]]) -> Table:
    """The table that the demo prints: a column a variant, so that it fits a terminal."""
    table = Table(title="Digits on the generated hardware")
    table.add_column("")
    for row in results:
        table.add_column(str(row["name"]), justify="right")
    for key, title in TITLES.items():
        table.add_row(title, *(cell(row, key) for row in results))
    return table


def write(
    outcomes: Sequence[Outcome], data: DataSet, folder: Path, *, seconds: float, made_by: str
) -> list[dict[str, object]]:
    """Write report.json and report.html; returns the rows. `made_by` is the command that ran."""
    errors = pictures.layer_errors(outcomes, data)
    results = rows(outcomes, errors)
    report = {"seconds": seconds, "command": made_by, "variants": results}
    write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    page = Environment(autoescape=True, trim_blocks=True).from_string(PAGE.read_text(encoding="utf-8"))
    html = page.render(
        train=len(data.train_x),
        test=len(data.test_x),
        compared=f"{sum(outcome.compared for outcome in outcomes):,}",
        mismatches=sum(outcome.mismatches for outcome in outcomes),
        made_by=made_by,
        rows=[(title, [cell(row, key) for row in results]) for key, title in TITLES.items()],
        variants=results,
        accuracy=encoded(pictures.accuracies(outcomes)),
        errors=encoded(pictures.errors_by_layer(outcomes, errors)),
        cycles=encoded(pictures.timelines(outcomes)),
        histograms=[(one.variant.name, encoded(pictures.weight_histograms(one))) for one in outcomes],
        training=steps.training(),
        steps=[
            (one.variant.name, steps.files(one.variant, folder), steps.commands(one.variant, folder))
            for one in outcomes
        ],
    )
    write_text(folder / "report.html", html + "\n")
    return results
