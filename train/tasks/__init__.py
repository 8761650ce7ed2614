"""Tasks by name, for the command line and the training loop."""

from twofold.train.tasks.base import Meter, NetworkTask
from twofold.train.tasks.classification import Classification
from twofold.train.tasks.detection import Detection
from twofold.train.tasks.enhancement import Enhancement
from twofold.train.tasks.segmentation import Segmentation

#: Tasks that `twofold train` knows by name.
TASKS: dict[str, NetworkTask] = {
    task.name: task for task in (Classification(), Segmentation(), Detection(), Enhancement())
}

__all__ = ["TASKS", "Meter", "NetworkTask"]
