"""The claims, and the rows that test each: the data of `docs/claims.md`."""

from typing import Any

from twofold.bench.claims.trials import Claim, Trial

_DISTILLED = "lsq_w3a3_distilled"
#: 50 of 390 steps, in epochs of 39.
_WARM: dict[str, Any] = {"warmup": 50 / 39}
_PAPER: dict[str, Any] = {
    "nesterov": False,
    "lr": 0.01,
    "weight_decay": 5e-5,
    "warmup": 0.0,
}


def _ablation() -> Claim:
    """What of a training that reaches much at W3A3 matters."""

    def trial(name: str, weight: dict[str, Any] | None = None, /, **train: Any) -> Trial:
        return Trial(name, _DISTILLED, weight=weight or {}, train={**_WARM, **train})

    layer = {"granularity": "layer"}
    labels: dict[str, Any] = {"distill": 0.0, "temperature": 1.0}
    return Claim(
        "ablation",
        (
            trial("all of it"),
            Trial("3 bits in residuals, too", _DISTILLED, train=_WARM, residual={"bits": 0}),
            trial("a scale a layer, not a channel", layer),
            trial("labels alone, no distillation", **labels),
            trial("distillation at temperature 1", temperature=1.0),
            trial("SGD 0.01 without Nesterov and warm-up", **_PAPER),
            Trial(
                "none of these: the recipe `lsq_w3a3`",
                _DISTILLED,
                weight=layer,
                train=_WARM | labels | _PAPER,
                residual={"bits": 0},
            ),
            trial("running mean of the weights, 0.99", average=0.99),
        ),
        steps=390,
        config="stream_16x16",
        judged="train",
    )


def _stlq() -> list[Claim]:
    base = "stlq_w3a4_r10_cifar"
    ratios = ("0", "0.05", "0.10", "0.15", "0.30", "1")

    def trial(name: str, **weight: Any) -> Trial:
        return Trial(name, base, weight=weight)

    return [
        Claim(
            "stlq-ratio",
            tuple(trial(f"R = {round(100 * float(ratio))} %", ratio=float(ratio)) for ratio in ratios),
            config="log_16x16",
        ),
        Claim(
            "stlq-unit",
            (
                trial("tiles of 16x16, R = 10 %"),
                trial("filters, R = 10 %", unit="filter"),
                trial("elements, R = 10 %", unit="element"),
                trial("elements, one threshold [SLQ]", unit="element", ratio=0.0, threshold=0.0311),
                trial("filters, one threshold [FLightNN]", unit="filter", ratio=0.0, threshold=0.0258),
            ),
            config="log_16x16",
        ),
        Claim(
            "stlq-v",
            (
                trial("as in the recipe"),
                trial("selection alone, no auxiliary values", auxiliary=False),
                trial("the printed form `LogQ(r1 (C + v))`", literal=True),
                trial("tiles scored by the L2 norm, as printed", score="l2"),
                trial("scales not learned", learn=False),
                trial("rounding of the logarithm, as printed", rounding="log"),
                trial("a scale a layer", granularity="layer"),
            ),
            config="log_16x16",
        ),
    ]


def _attention() -> list[Claim]:
    def members(kind: str, *bits: int) -> list[dict[str, Any]]:
        return [{"quantizer": kind, "bits": each} for each in bits]

    def mixture(name: str, kind: str, strength: float, **more: Any) -> Trial:
        weight = {"quantizer": "attention", "strength": strength, "members": members(kind, 2, 4, 8), **more}
        return Trial(name, "attention_sawb_w2a8", weight=weight)

    # Omega ends where 200 epochs of the published 1.02 an epoch bring it.
    growth = 1.02**20
    return [
        Claim(
            "attention-minmax",
            (
                Trial("min-max alone", "minmax_w2a8", train={"settle": 0.0}),
                Trial("Binary-Relax with float", "relax_float_w2a8", weight={"growth": growth}),
                Trial("Binary-Relax with 4 and 8 bits", "relax_minmax_w2a8", weight={"growth": growth}),
                mixture("attention, lambda 5", "minmax", 5.0),
                mixture("attention, lambda 0.5", "minmax", 0.5),
                mixture("attention, from temperature 10", "minmax", 5.0, hot=10.0),
                mixture("attention, to temperature 0.3", "minmax", 5.0, cold=0.3),
            ),
        ),
        Claim(
            "attention-sawb",
            (
                Trial("SAWB alone", "sawb_w2a8", train={"settle": 0.0}),
                mixture("attention, lambda 1", "sawb", 1.0),
                mixture("attention, lambda 0.1", "sawb", 0.1),
            ),
        ),
        Claim(
            "attention-pact",
            (
                Trial("PACT and SAWB alone", "pact_sawb_w2a2", train={"settle": 0.0}),
                Trial("attention", "attention_pact_sawb_w2a2"),
            ),
        ),
    ]


def _sigma() -> list[Claim]:
    once = {"stages": (), "again": False}
    uniform = {"quantizer": "sigma", "bits": 3, "learn": True}
    return [
        Claim(
            "sigma-stages",
            (
                Trial("one training", "sigma_w3a3", train=once),
                Trial("4 bits first", "sigma_w3a3", train={"again": False}),
                Trial("4 bits first, clipping level kept", "sigma_w3a3", {"rescale": False}, train={"again": False}),
                Trial("a second training, levels frozen", "sigma_w3a3", train={"stages": ()}),
                Trial("both (the recipe)", "sigma_w3a3"),
            ),
        ),
        Claim(
            "sigma-gradient",
            (
                Trial("scale 0.1 (the recipe)", "sigma_w3a3", train=once),
                *(
                    Trial(f"scale {scale:g}", "sigma_w3a3", {"gradient_scale": scale}, train=once)
                    for scale in (1.0, 0.01, 0.0)
                ),
                Trial("LSQ", "sigma_w3a3", {"quantizer": "lsq", "bits": 3, "learn": True}, train=once),
                Trial("PACT activations", "sigma_w3a3", uniform, {"quantizer": "pact", "bits": 3}, once),
                Trial(
                    "additive powers of two", "sigma_w3a3", {"quantizer": "apot", "bits": 3, "learn": True}, train=once
                ),
            ),
        ),
    ]


def _po2() -> list[Claim]:
    def rows(base: str) -> tuple[Trial, ...]:
        return (
            Trial("all stabilisers (the recipe)", base),
            Trial("errors not weighted by gradients", base, {"gradient_weight": False}),
            Trial("outliers counted", base, {"outlier_mask": False}),
            Trial("no running mean of exponents", base, {"stable": False}),
            Trial("none", base, {"gradient_weight": False, "outlier_mask": False, "stable": False}),
        )

    return [
        Claim(
            "po2-msqe",
            rows("po2_msqe_w4a8"),
        ),
        Claim(
            "po2-gradient",
            (
                *rows("po2_gradient_w4a8"),
                Trial("exponents rounded up", "po2_gradient_w4a8", {"rounding": "up"}),
                Trial("exponents rounded to the nearest", "po2_gradient_w4a8", {"rounding": "nearest"}),
            ),
        ),
    ]


def _subset() -> list[Claim]:
    """Options of the universal set, and uniform weights with the same reconstruction."""
    groups = []
    for weight, activation, base in ((4, 8, "sq_w4a8"), (3, 8, "sq_w3a8"), (2, 8, "sq_w2a8"), (4, 4, "sq_w4a4")):
        options = tuple(Trial(f"option {n}", base, {"universal_set": n}) for n in (5, 1, 2, 3, 4))
        uniform = {"quantizer": "uniform", "bits": weight}
        groups.append(
            Claim(
                f"subset-w{weight}a{activation}",
                (*options, Trial("uniform, the same reconstruction", base, uniform)),
            )
        )
    return groups


GROUPS = (_ablation(), *_stlq(), *_sigma(), *_attention(), *_po2(), *_subset())
