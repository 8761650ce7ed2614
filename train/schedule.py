"""Learning rate over the training: a function of the step alone, so that a resumed run needs no state of it."""

import math

from twofold.train.recipe import TrainSettings


def rate(settings: TrainSettings, step: int, steps: int, epochs: int) -> float:
    """Learning rate of a step.

    Parameters
    ----------
    settings
        Base rate, schedule and warm-up.
    step, steps
        Number of the step, from 0, and of all steps.
    epochs
        Epochs of the training, the unit of the warm-up.
    """
    warm = settings.warmup * steps / epochs
    if step < warm:
        return settings.lr * (step + 1) / (warm + 1)
    if settings.schedule == "constant":
        return settings.lr
    if settings.schedule == "step":
        passed = sum(step >= round(part * steps) for part in settings.milestones)
        return settings.lr * settings.decay**passed
    return settings.lr * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2
