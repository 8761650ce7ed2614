"""The demo's results: rows of the table, report.json, and one page with pictures."""

import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment
from rich.table import Table

from demo import pictures
from demo.variants import Outcome
from support.files import write_text
from train.data import DataSet

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Twofold demo</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1a202c; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.8em; }
th, td { white-space: nowrap; border-bottom: 1px solid #cbd5e0; padding: 0.3rem 0.7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; } h2 { margin-top: 2.2rem; } p { max-width: 48rem; }
</style></head><body>
<h1>Twofold demo</h1>
<p>One network for {{ train }} training images of handwritten digits (8x8 pixels), {{ test }} held out; quantized in {{ variants | length }} ways
and run on the generated hardware. {{ compared }} integers of all layers were compared with the golden model's; {{ mismatches }} differ.</p>
<table><tr><th>variant</th>{% for title in titles %}<th>{{ title }}</th>{% endfor %}</tr>
{% for name, cells in rows %}<tr><td>{{ name }}</td>{% for cell in cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
<h2>Accuracy</h2><img alt="accuracy by variant" src="data:image/png;base64,{{ accuracy }}">
<h2>Error by layer</h2><p>Each layer's integers times their scale, against the float network with batch norm folded: root mean square of the
difference over that of the float values.</p><img alt="error by layer" src="data:image/png;base64,{{ errors }}">
<h2>Where the cycles went</h2><p>Predicted by the compiler; the hardware's counter gave the same total. "array" is the array at work,
"load" waiting for a tile, "requantiser" waiting for the layer before, "fetch" reading instructions.</p>
<img alt="cycles by layer" src="data:image/png;base64,{{ cycles }}">
<h2>Weights and the points they took</h2>
{% for name, picture in histograms %}<h3>{{ name }}</h3><img alt="weights of {{ name }}" src="data:image/png;base64,{{ picture }}">{% endfor %}
<h2>Layers</h2>
{% for variant in variants %}<h3>{{ variant.name }}</h3>
<table><tr><th>layer</th><th>passes</th><th>cycles</th><th>utilisation</th><th>error</th><th>accumulator bits needed</th></tr>
{% for layer in variant.layers %}<tr><td>{{ layer.name }}</td><td>{{ layer.passes }}</td><td>{{ layer.cycles }}</td>
<td>{{ "%.0f %%" | format(100 * layer.utilisation) }}</td><td>{{ "%.2f %%" | format(100 * layer.error) }}</td><td>{{ layer.acc_bits }}</td></tr>
{% endfor %}</table>{% endfor %}
</body></html>
"""  # noqa: E501

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
            "two_word_ratio_asked": outcome.network.meta.get("two_word_ratio_asked"),
            "two_word_ratio": outcome.network.meta.get("two_word_ratio"),
            "weight_bits": outcome.network.meta["weight_bits"],
            "multipliers": outcome.multipliers,
            "layers": [
                {
                    "name": layer.name,
                    "passes": layer.passes,
                    "cycles": layer.cycles,
                    "spent": dict(layer.spent),
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


def write(outcomes: Sequence[Outcome], data: DataSet, folder: Path, *, seconds: float) -> list[dict[str, object]]:
    """Write report.json and report.html; returns the rows."""
    error_picture, errors = pictures.layer_errors(outcomes, data)
    results = rows(outcomes, errors)
    report = {"seconds": seconds, "variants": results}
    write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    page = Environment(autoescape=True).from_string(PAGE)
    html = page.render(
        train=len(data.train_x),
        test=len(data.test_x),
        compared=f"{sum(outcome.compared for outcome in outcomes):,}",
        mismatches=sum(outcome.mismatches for outcome in outcomes),
        titles=list(TITLES.values()),
        rows=[(row["name"], [cell(row, key) for key in TITLES]) for row in results],
        variants=results,
        accuracy=pictures.accuracies(outcomes),
        errors=error_picture,
        cycles=pictures.cycles(outcomes),
        histograms=[(outcome.variant.name, pictures.weight_histograms(outcome)) for outcome in outcomes],
    )
    write_text(folder / "report.html", html + "\n")
    return results
