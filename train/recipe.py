"""Recipes: which quantizer each layer gets, and how it is trained. TOML files in `recipes/`."""

from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from twofold.golden.network import KINDS
from twofold.support import resources
from twofold.train.bases import read_recipe
from twofold.train.checked import LISTED, among, checked, must
from twofold.train.options import check_activation, check_weight
from twofold.train.quantizers import ACTIVATIONS, QUANTIZERS

#: What a pattern may be besides a path: the first and last layer with weights, and the kinds of layers.
ROLES = ("@first", "@last", *(f"@{kind}" for kind in KINDS))


Bits = Annotated[int, Field(ge=2, le=8)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0)]
Seed = Annotated[int, must("0 to 2**63 - 1", lambda seed: 0 <= seed < 1 << 63)]


def _parts(values: tuple[float, ...]) -> bool:
    return all(0 < value < 1 for value in values)


def _falling(bits: tuple[int, ...]) -> bool:
    return all(2 <= b <= 8 for b in bits) and list(bits) == sorted(set(bits), reverse=True)


@checked("activation.")
@dataclass(frozen=True)
class ActivationRule:
    """Format of a layer's output.

    Parameters
    ----------
    bits
        2 to 8.
    signed
        ``None``: signed where the layer's results can be negative.
    calibration
        ``mse`` or ``max`` (`ActivationQuantizer`).
    learn
        Train the scale in quantization-aware training.
    quantizer
        Name in `train.quantizers.ACTIVATIONS`.
    options
        The quantizer's own arguments.
    """

    bits: Bits = 8
    signed: bool | None = None
    calibration: Literal["mse", "max"] = "mse"
    learn: bool = True
    quantizer: Annotated[str, among(ACTIVATIONS)] = "lsq"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        common = {"bits": self.bits, "signed": bool(self.signed), "calibration": self.calibration}
        check_activation(self.quantizer, self.options, common)


@checked("weight.")
@dataclass(frozen=True)
class WeightRule:
    """Quantizer of a layer's weights.

    Parameters
    ----------
    quantizer
        Name in `train.quantizers.QUANTIZERS`.
    learn
        Train the scale in quantization-aware training.
    options
        The quantizer's own arguments.
    """

    quantizer: Annotated[str, among(QUANTIZERS)]
    learn: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_weight(self.quantizer, self.options)


@checked("layer.")
@dataclass(frozen=True)
class Rule:
    """What the layers that a pattern matches get; a later rule overrides what it states.

    Parameters
    ----------
    match
        Path in the module tree with ``*`` and ``?``, or one of `ROLES`.
    weight, activation
        ``None`` leaves earlier rules as they are.
    """

    match: str
    weight: WeightRule | None = None
    activation: ActivationRule | None = None


@checked("train.")
@dataclass(frozen=True)
class TrainSettings:
    """Settings of quantization-aware training.

    Parameters
    ----------
    epochs, batch, lr, weight_decay, optimizer, seed
        As usual; `optimizer` is ``adam`` or ``sgd``.
    steps
        Of an epoch, at most: it then sees that many batches of images chosen at random. 0: all images.
    momentum, nesterov
        Of ``sgd``; Nesterov's form of it.
    schedule
        ``cosine`` to 0, ``step``, or ``constant``.
    milestones, decay
        Of ``step``: parts of the training after which the rate is multiplied, and the factor.
    warmup
        Epochs in which the rate rises from nearly 0.
    augment
        Crop and flip training images, where the data set says how.
    penalty
        Lambda of the quantizers' own losses ([STLQ]: of ``sum(v**2)``).
    v_lr
        Learning rate (plain SGD) of auxiliary values.
    distill
        Part of the loss that is the cross-entropy to the float model's soft labels.
    temperature
        Both models' outputs are divided by it for that part, which is multiplied with its square.
    average
        Part of a running mean of the weights that a step leaves, 0.999 for instance; the mean is what is evaluated and
        kept in the end. 0: no mean.
    settle
        Part of the training, at its end, in which auxiliary values are gone and scales stand still.
    stages
        Bits of trainings before the final one, falling: quantizers that can change their bits and end with fewer begin
        with these. Weights keep their step from stage to stage ([Sigma] section 4.1), activations their clipping
        level. Each stage has all epochs.
    again
        Train once more in the end, scales standing still from the start ([Sigma] section 4.2).
    batch_norm
        ``fold``: before training. ``keep``: it normalises by the statistics of the batches until training ends, and
        weights are quantized before it (`train.norm`).
    """

    epochs: Count = 30
    batch: Count = 64
    steps: Natural = 0
    lr: Rate = 1e-3
    weight_decay: Rate = 0.0
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: Rate = 0.9
    nesterov: bool = False
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    milestones: Annotated[tuple[float, ...], LISTED, must("numbers between 0 and 1", _parts)] = (0.5, 0.75)
    decay: Rate = 0.1
    warmup: Rate = 0.0
    augment: bool = True
    seed: Seed = 0
    penalty: Rate = 0.0
    v_lr: Rate = 0.0
    distill: Annotated[float, Field(ge=0, le=1)] = 0.0
    temperature: Annotated[float, must("above 0", lambda value: value > 0)] = 1.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    settle: Annotated[float, Field(ge=0, lt=1)] = 0.2
    stages: Annotated[tuple[int, ...], LISTED, must("falling numbers of 2 to 8 bits", _falling)] = ()
    again: bool = False
    batch_norm: Literal["fold", "keep"] = "fold"

    def __post_init__(self) -> None:
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError(
                "train.nesterov must be false but for sgd with momentum, "
                f"not true for {self.optimizer!r} with momentum {self.momentum!r}"
            )


@checked("ptq.")
@dataclass(frozen=True)
class PostSettings:
    """Settings of post-training quantization.

    Parameters
    ----------
    images
        Calibration images, from the training set.
    copies, shift, flip
        The images and so many copies less one, each moved by up to so many pixels and mirrored or not, at random.
    weighted
        The search for point sets weights errors with the mean square of the inputs.
    reconstruct
        Fit each layer's per-channel gain and bias to the float layer's output (least squares).
    steps, batch, seed
        Steps of learned rounding a unit (0: none), images of a step, and seed.
    held_out
        Part of the images that nothing is learned from: a unit whose output is farther from the float one on them than
        before it learned stays as it was. 0: the images that it learned from decide.
    unit
        ``layer``, or ``block``: as many layers as lie between two places where only one tensor goes on.
    rounding
        ``straight``: weights move; ``choose``: each weight takes one of its two neighbouring points
        (`train.reconstruct`).
    lr, scale_lr, act_lr
        Rates: of the weights (``straight``: a part of their root mean square; ``choose``: of the choice's logit), of
        gains and biases, and of the activations' scales (0: they stay as calibrated).
    decide
        Weight of the penalty of undecided choices.
    drop
        Part of the activations, at random, that are left unquantized while rounding is learned [QDrop].
    """

    images: Count = 512
    copies: Count = 1
    shift: Natural = 0
    flip: bool = False
    weighted: bool = False
    reconstruct: bool = True
    steps: Natural = 0
    batch: Count = 128
    seed: Seed = 0
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.125
    unit: Literal["layer", "block"] = "layer"
    rounding: Literal["straight", "choose"] = "straight"
    lr: Rate = 0.01
    scale_lr: Rate = 0.01
    act_lr: Rate = 0.0
    decide: Rate = 0.01
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.0


@checked("residual.")
@dataclass(frozen=True)
class ResidualSettings:
    """How residuals are added.

    Parameters
    ----------
    tie
        Scales along a residual stream differ by powers of two, where they can (`train.streams`).
    bits
        Tensors that residuals read keep so many bits, and convolutions read those of their rule (`train.wide`); 0: they
        have the bits of their rule.
    """

    tie: bool = True
    bits: Annotated[int, must("0 or 3 to 8", lambda value: value == 0 or 3 <= value <= 8)] = 0


_KINDS: dict[Any, str] = {str: "a string", dict: "a table", list: "a list"}


def _check_type(key: str, value: Any, kind: type) -> None:
    if type(value) is not kind:
        raise ValueError(f"{key} must be {_KINDS[kind]}, not {value!r}")


@checked("")
@dataclass(frozen=True)
class Recipe:
    """A method's settings.

    Parameters
    ----------
    name, source
        What it is called and where it comes from.
    method
        ``qat`` or ``ptq``.
    rules
        In file order.
    train, ptq
        Settings of the method.
    residual
        Of both methods.
    """

    name: str
    method: Literal["qat", "ptq"]
    rules: tuple[Rule, ...]
    source: str = ""
    train: TrainSettings = TrainSettings()
    ptq: PostSettings = PostSettings()
    residual: ResidualSettings = ResidualSettings()

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule.match.startswith("@") and rule.match not in ROLES:
                raise ValueError(f"match must be a path or one of {ROLES}, not {rule.match!r}")

    def settings(self, name: str, roles: tuple[str, ...]) -> tuple[WeightRule | None, ActivationRule]:
        """Weight and activation rule of a layer of that path and those roles."""
        weight, activation = None, ActivationRule()
        for rule in self.rules:
            if rule.match in roles or fnmatchcase(name, rule.match):
                weight = rule.weight or weight
                activation = rule.activation or activation
        return weight, activation


def load_recipe(path: Path | str) -> Recipe:
    """Recipe from a TOML file and the files that it has as bases (`train.bases`), or by the name of one in `recipes/`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not TOML, a base is impossible, a key is unknown or missing, or a value is impossible; the message
        begins with the path.
    """
    table, files = read_recipe(resources.find("recipes", path))
    try:
        return parse_recipe(table)
    except ValueError as error:
        raise ValueError(f"{' on '.join(map(str, files))}: {error}") from error


def parse_recipe(table: dict[str, Any]) -> Recipe:
    """Recipe from the tables of a TOML file that has no base, or is merged with it."""
    _check(table, ("name", "source", "method", "layer", "train", "ptq", "residual"), ("name", "method", "layer"))
    _check_type("layer", table["layer"], list)
    rules = []
    for layer in table["layer"]:
        _check(layer, ("match", "weight", "activation"), ("match",), "layer.")
        try:
            rules.append(Rule(layer["match"], _weight(layer.get("weight")), _activation(layer.get("activation"))))
        except ValueError as error:
            raise ValueError(f"layer {layer['match']!r}: {error}") from error
    settings: dict[str, Any] = {}
    for key, kind in (("train", TrainSettings), ("ptq", PostSettings), ("residual", ResidualSettings)):
        if key in table:
            _check_type(key, table[key], dict)
            settings[key] = kind(**table[key])
    return Recipe(table["name"], table["method"], tuple(rules), table.get("source", ""), **settings)


def _weight(table: dict[str, Any] | None) -> WeightRule | None:
    if table is None:
        return None
    _check_type("weight", table, dict)
    if "quantizer" not in table:
        raise ValueError("key 'weight.quantizer' must be given, not left out")
    options: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return WeightRule(options.pop("quantizer"), options.pop("learn", False), options)


def _activation(table: dict[str, Any] | None) -> ActivationRule | None:
    if table is None:
        return None
    _check_type("activation", table, dict)
    known = tuple(spec.name for spec in fields(ActivationRule) if spec.name != "options")
    if table.get("quantizer", "lsq") == "lsq":
        _check(table, known, (), "activation.")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    common: dict[str, Any] = {key: options.pop(key) for key in known if key in options}
    return ActivationRule(**common, options=options)


def _check(table: dict[str, Any], known: tuple[str, ...], needed: tuple[str, ...], prefix: str = "") -> None:
    _check_type(prefix.rstrip(".") or "recipe", table, dict)
    names = tuple(prefix + key for key in known)
    for key in table:
        if key not in known:
            raise ValueError(f"key must be one of {names}, not {prefix + key!r}")
    for key in needed:
        if key not in table:
            raise ValueError(f"key {prefix + key!r} must be given, not left out")
