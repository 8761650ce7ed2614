"""The rows of the table, in order of value, and the commands that make them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from twofold.support.output import build_folder
from twofold.train.pipelines import trainings
from twofold.train.recipe import Recipe, load_recipe

FOLDER = build_folder("results")
#: Trained weights of the CIFAR-10 network, below the data folder.
WEIGHTS = {"resnet20": "resnet20_cifar10/resnet20-12fca82f.npz"}
#: Steps of a row's trainings together, in the schedule of the page: an epoch of CIFAR-10.
STEPS = 390
#: Epochs of a float network that rows start from, in the schedule of the page.
FLOAT_EPOCHS = 4
LOG, SUBSET = "log_16x16", "subset_16x16"
#: Those for residual streams of more bits than convolutions read.
STREAM_LOG, STREAM = "stream_log_16x16", "stream_16x16"
#: Epochs of the rows that the page has of a long schedule.
LONG_EPOCHS = 13


@dataclass(frozen=True)
class Row:
    """A network quantized by a recipe for a build.

    Parameters
    ----------
    network, data
        Names, as on the command line of `train`.
    name
        Recipe's, or ``float``: the network that the others begin with.
    weight_bits, act_bits
        Of a weight word and of an activation, but for first and last layers; 32 in float.
    """

    network: str
    data: str
    name: str
    weight_bits: int
    act_bits: int

    @property
    def key(self) -> str:
        """Name of the row's run, and of the row on the command line."""
        return f"{self.network}-{self.data}-{self.name}"

    @cached_property
    def recipe(self) -> Recipe | None:
        """``None``: in float."""
        return None if self.name == "float" else load_recipe(self.name)

    @property
    def config(self) -> str:
        """Name of the build: log arrays for log words, subset arrays for all others."""
        log, subset = (LOG, SUBSET) if self.recipe is None or not self.recipe.residual.bits else (STREAM_LOG, STREAM)
        return log if self.name.startswith(("stlq_", "log_")) else subset

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return FOLDER / "runs" / self.key

    @property
    def trains(self) -> bool:
        """Whether a training quantizes it."""
        return self.recipe is not None and self.recipe.method == "qat"

    @property
    def float_row(self) -> "Row | None":
        """The row whose run this one starts from; ``None`` where there are weights, or in float."""
        if self.name == "float" or self.network in WEIGHTS:
            return None
        return Row(self.network, self.data, "float", 32, 32)

    @property
    def long(self) -> bool:
        """Whether its training is a long one."""
        return self.name.endswith("_distilled")

    @property
    def schedule(self) -> tuple[str, ...]:
        """Options of the page's schedule, which is much shorter than the recipe's; none where nothing is trained."""
        if self.recipe is None:
            return "--epochs", str(FLOAT_EPOCHS), "--bf16"
        if not self.trains:
            return ()
        if self.long:
            return "--epochs", str(LONG_EPOCHS)
        # In one epoch a recipe that warms up would do nothing else.
        epochs = 3 if self.recipe.train.warmup else 1
        steps = STEPS // (epochs * len(trainings(self.recipe.train)))
        return "--epochs", str(epochs), "--steps", str(steps), "--bf16"

    def command(self, data: Path, options: tuple[str, ...] = ()) -> list[str]:
        """Arguments of ``twofold train``; `options` are further ones of a training."""
        path = ["--data-path", str(data / self.data)]
        source = ["--network", self.network, "--data", self.data, *path]
        if self.float_row is not None:
            source = ["--start", str(self.float_row.folder), *path]
        elif self.name != "float":
            source += ["--weights", str(data / WEIGHTS[self.network])]
        if self.recipe is None:
            return ["fit", *source, "--out", str(self.folder), *options]
        last = ["--recipe", self.name, "--config", self.config, "--out", str(self.folder)]
        if self.recipe.method == "ptq":
            return ["ptq", *source, *last]
        return ["fit", *source, *last, *options]


_RATIOS = ("10", "05", "15")
#: Rows of both networks.
_BOTH = (
    ("sq_w4a8", 4, 8),
    ("sq_w3a8", 3, 8),
    ("sq_w2a8", 2, 8),
    ("sq_w4a4", 4, 4),
    ("stlq_w3a4_r10_cifar", 3, 4),
    ("sigma_w3a3", 3, 3),
    ("sigma_log_w3a3", 3, 3),
    ("attention_minmax_w2a8", 2, 8),
    ("attention_sawb_w2a8", 2, 8),
    ("lsq_w3a3", 3, 3),
    ("apot_w3a3", 3, 3),
    ("po2_msqe_w4a8", 4, 8),
    ("po2_gradient_w4a8", 4, 8),
)
_CIFAR = (
    *_BOTH,
    ("stlq_w3a4_r05_cifar", 3, 4),
    ("stlq_w3a4_r15_cifar", 3, 4),
    *((f"stlq_w3a{bits}_r{ratio}_cifar", 3, bits) for bits in (8, 3) for ratio in _RATIOS),
    ("lsq_w3a3_distilled", 3, 3),
    ("stlq_w3a3_r10_distilled", 3, 3),
    ("sigma_w4a4", 4, 4),
    ("sigma_log_w4a4", 4, 4),
    ("sigma_w2a2", 2, 2),
    ("sigma_log_w2a2", 2, 2),
)
_FASHION = (("float", 32, 32), *_BOTH)
#: All rows.
ROWS = (
    *(Row("resnet20", "cifar10", *row) for row in _CIFAR),
    *(Row("small_vgg_mnist", "fashion_mnist", *row) for row in _FASHION),
)


def find_row(key: str) -> Row:
    """Row of that key.

    Raises
    ------
    ValueError
        If there is none.
    """
    for row in ROWS:
        if row.key == key:
            return row
    raise ValueError(f"Row must be one of those that --list prints, not {key!r}")
