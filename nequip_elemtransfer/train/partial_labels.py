"""The mean square error of a training set in which labels are missing.

.. code-block:: yaml

    loss:
      _target_: nequip.train.MetricsManager
      metrics:
        - name: stress_mse
          field: stress
          coeff: 200
          ignore_nan: true
          metric: {_target_: nequip_elemtransfer.train.partial_labels.LabelledSquaredError}
"""

import torch
from nequip.train import MeanSquaredError


class LabelledSquaredError(MeanSquaredError):
    """NequIP's mean square error, zero over no labels at all.

    NequIP's own is 0/0 for a batch none of whose structures has the label, and one such batch ends a training.
    """

    def compute(self) -> torch.Tensor:
        """"""
        return super().compute() if self.count else torch.zeros_like(self.sum, dtype=torch.float64)
