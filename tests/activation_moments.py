"""The constants by which e3nn normalizes activations, computed once in a process instead of once for each layer.

e3nn takes a million random numbers for one, always the same.
"""

from functools import lru_cache

import torch
from e3nn.math import _normalize_activation

_normalize_activation.moment = lru_cache(maxsize=16)(_normalize_activation.moment)
for _activation in (torch.nn.functional.silu, torch.tanh):  # those of NequIP's gates
    _normalize_activation.normalize2mom(_activation)
