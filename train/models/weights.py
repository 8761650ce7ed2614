"""Trained weights from safetensors or npz files; nothing is unpickled."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from twofold.golden.arrays import read_npz
from twofold.support.reading import LARGEST, read_bytes


def load_weights(model: nn.Module, path: Path | str) -> None:
    """Load a state dict into a model.

    A prefix ``module.`` of the keys is dropped. Batch norm's ``num_batches_tracked`` may be absent.

    Parameters
    ----------
    model
        Its keys and shapes must be the file's.
    path
        ``.safetensors``, or ``.npz`` with one array a key.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or of another kind, or keys or shapes differ.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"Weights must be a file, not {str(path)!r}")
    tensors = {key.removeprefix("module."): tensor for key, tensor in _read(path).items()}
    wanted = model.state_dict()
    for key in wanted:
        if key.endswith("num_batches_tracked") and key not in tensors:
            tensors[key] = torch.zeros((), dtype=torch.int64)
    for key, tensor in wanted.items():
        if key not in tensors:
            raise ValueError(f"{path}: tensor {key!r} must be given, not left out")
        if tensors[key].shape != tensor.shape:
            raise ValueError(
                f"{path}: tensor {key!r} must be of shape {tuple(tensor.shape)}, not {tuple(tensors[key].shape)}"
            )
    for key in tensors:
        if key not in wanted:
            raise ValueError(f"{path}: tensor must be one of the model's, not {key!r}")
    model.load_state_dict(tensors)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        data = read_bytes(path, LARGEST)
        try:
            return load(data)
        except (SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: file must be tensors, not damaged: {error}") from error
    if path.suffix == ".npz":
        arrays = read_npz(path)
        for key, array in arrays.items():
            if array.dtype.newbyteorder("=").kind not in "biuf" or array.dtype.itemsize > 8:
                raise ValueError(f"{path}: tensor {key!r} must be numbers, not {array.dtype}")
        return {key: torch.from_numpy(array.astype(array.dtype.newbyteorder("="))) for key, array in arrays.items()}
    raise ValueError(f"Weights must be a file '.safetensors' or '.npz', not {path.name!r}")
