"""Small tensors: one thread is fastest, and other processes may be running."""

import torch

torch.set_num_threads(1)
