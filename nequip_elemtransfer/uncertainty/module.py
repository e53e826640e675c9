"""A model that says of each atom how unsure its force is, in a form that is exported as the model is."""

from typing import Dict  # noqa: UP035  TorchScript knows this one

import torch
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel

from nequip_elemtransfer.uncertainty.mahalanobis import Uncertainty
from nequip_elemtransfer.uncertainty.readout import Readout

# what such a model gives besides, of shape (n_atoms, 1): σ of a force component in eV/Å, and the grade
UNCERTAINTY_KEY, GRADE_KEY = "forces_uncertainty", "extrapolation_grade"


class WithUncertainty(torch.nn.Module):
    """A model with two more outputs, computed after all others in double precision, which LAMMPS reads.

    Args:
        model: NequIP or Allegro, whose outputs stay what they are
        uncertainty: of this model

    Raises:
        ValueError: the model has no readout
    """

    def __init__(self, model: GraphModel, uncertainty: Uncertainty) -> None:
        super().__init__()
        self.model, self.model_dtype = model, model.model_dtype
        readout, known = Readout.of(model), uncertainty.known
        self.field, self.of_edges = readout.field, readout.of_edges
        self.names = (UNCERTAINTY_KEY, GRADE_KEY)  # TorchScript knows attributes
        n_features = len(known.mean)
        constants = {
            "mean": known.mean,
            "spread": known.spread,
            "whiten": known.whiten[:n_features],  # (n_features, n_features + 1)
            "constant": known.whiten[n_features],  # (n_features + 1,)
            "scale": uncertainty.calibration.scale,
            "largest": uncertainty.largest,
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float64).clone())

    def forward(self, data: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:  # noqa: UP006
        """The model's output, σ and γ; atoms without a neighbour, as ghosts are, have an Allegro readout of zero."""
        out = self.model(data)
        x = out[self.field].detach().double()
        if self.of_edges:  # (n_edges, n_features) -> (n_atoms, n_features)
            n_atoms = out[AtomicDataDict.POSITIONS_KEY].size(0)
            zeros = torch.zeros((n_atoms, x.size(1)), dtype=x.dtype, device=x.device)
            x = zeros.index_add(0, out[AtomicDataDict.EDGE_INDEX_KEY][0], x)
        white = torch.mm((x - self.mean) / self.spread, self.whiten) + self.constant
        sigma = self.scale * torch.sqrt(1.0 + torch.sum(white * white, dim=1, keepdim=True))  # (n_atoms, 1)
        out[self.names[0]] = sigma
        out[self.names[1]] = sigma / self.largest
        return out
