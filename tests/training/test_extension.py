"""A made-up NequIP extension, installed as a distribution: nothing of ours knows it."""

import os

import numpy as np
import pytest
import torch
from commands import run_anew
from real_runs import train, training_config, transfer_config

EXTENSION = '''
"""An energy for each pair of types, a sum over Bessel functions of the distance."""

import torch
from nequip.data import AtomicDataDict
from nequip.model import model_builder
from nequip.nn import AtomwiseReduce, ForceStressOutput, GraphModuleMixin, PerTypeScaleShift, SequentialGraphNetwork
from nequip.nn import with_edge_type_
from nequip.nn.embedding import BesselEdgeLengthEncoding, EdgeLengthNormalizer, PolynomialCutoff


class PairEnergy(GraphModuleMixin, torch.nn.Module):
    def __init__(self, n_types, n_bessels, extra, irreps_in):
        super().__init__()
        self.n_types = n_types
        self._init_irreps(irreps_in=irreps_in, irreps_out={AtomicDataDict.PER_ATOM_ENERGY_KEY: "0e"})
        self.coefficients = torch.nn.Parameter(torch.randn(n_types**2, n_bessels))
        if extra:
            self.extra = torch.nn.Parameter(torch.randn({"triplets": (n_types**3, 2), "padded": (n_types + 1,)}[extra]))

    def forward(self, data):
        center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
        types = data[AtomicDataDict.ATOM_TYPE_KEY].reshape(-1)
        pair = types[center] * self.n_types + types[neighbor]
        energy = (self.coefficients[pair] * data[AtomicDataDict.EDGE_EMBEDDING_KEY]).sum(dim=1, keepdim=True)
        zero = torch.zeros((len(types), 1), dtype=energy.dtype, device=energy.device)
        data[AtomicDataDict.PER_ATOM_ENERGY_KEY] = zero.index_add(0, center, energy)
        return data


@model_builder
def PairModel(
    type_names,
    r_max,
    n_bessels=4,
    extra=None,
    per_edge_type_cutoff=None,
    per_type_energy_scales=None,
    per_type_energy_shifts=None,
):
    norm = EdgeLengthNormalizer(r_max=r_max, type_names=type_names, per_edge_type_cutoff=per_edge_type_cutoff)
    bessel = BesselEdgeLengthEncoding(num_bessels=n_bessels, cutoff=PolynomialCutoff(6), irreps_in=norm.irreps_out)
    pair = PairEnergy(len(type_names), n_bessels, extra, bessel.irreps_out)
    scale_shift = PerTypeScaleShift(
        type_names=type_names,
        field=AtomicDataDict.PER_ATOM_ENERGY_KEY,
        out_field=AtomicDataDict.PER_ATOM_ENERGY_KEY,
        scales=per_type_energy_scales,
        shifts=per_type_energy_shifts,
        irreps_in=pair.irreps_out,
    )
    total = AtomwiseReduce(
        reduce="sum",
        field=AtomicDataDict.PER_ATOM_ENERGY_KEY,
        out_field=AtomicDataDict.TOTAL_ENERGY_KEY,
        irreps_in=scale_shift.irreps_out,
    )
    modules = {"norm": norm, "bessel": bessel, "pair": pair, "scale_shift": scale_shift, "total": total}
    return ForceStressOutput(SequentialGraphNetwork(modules))
'''

MODEL = {
    "_target_": "made_up_pairs.model.PairModel",
    "seed": 1,
    "model_dtype": "float64",
    "type_names": ["Si"],
    "r_max": 4.0,
    "per_type_energy_scales": 1.5,
    "per_type_energy_shifts": -4.3,
}


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """The extension as pip would leave it in a folder of the path of every process started here."""
    site = tmp_path / "site"
    information = site / "made_up_pairs-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "made_up_pairs").mkdir()
    (site / "made_up_pairs" / "__init__.py").write_text("")
    (site / "made_up_pairs" / "model.py").write_text(EXTENSION)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up-pairs\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[nequip.extension]\ninit_always = made_up_pairs\n")
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)


def test_extension_works_without_code_of_ours(data, tmp_path):
    """Its pair axis is found, its length scale proved, and the result trained, restarted and packaged."""
    train(tmp_path / "si", training_config(data, "Si", MODEL))
    source = tmp_path / "si" / "out" / "best.ckpt"
    key = {"elements": {"Ge": "Si", "Si": "Si"}, "energy_scale": 0.8}
    log = train(tmp_path / "ge", transfer_config(data, source, **key), run=run_anew).stdout
    assert "Similarity E'(λx) = E(x) holds" in log
    saved = torch.load(tmp_path / "ge" / "out" / "last.ckpt", weights_only=True)
    model, state = saved["hyper_parameters"]["model"], saved["state_dict"]
    actions = {t["name"]: (t["shape"], t["action"]) for t in model["provenance"]["tensors"]}
    assert actions["model.func.pair.coefficients"] == ([4, 4], "remapped")
    assert state["model.sole_model.model.func.pair.coefficients"].shape == (4, 4)
    np.testing.assert_allclose(model["architecture"]["r_max"], 4.0 * 1.20 / 1.11)
    assert all(torch.isfinite(v).all() for v in state.values() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize("extra", ["triplets", "padded"])
def test_extension_with_a_tensor_no_rule_covers(data, tmp_path, extra):
    """n³ rows, or a row more than types: nobody can say what the new type's part of it should be."""
    config = training_config(data, "Si", MODEL | {"extra": extra})
    train(tmp_path / "si", config, "trainer.max_epochs=1")
    config = transfer_config(data, tmp_path / "si" / "out" / "best.ckpt")
    done = train(tmp_path / "ge", config, check=False)
    assert done.returncode != 0 and not list((tmp_path / "ge").rglob("*.ckpt"))
    assert (
        "made_up_pairs.model.PairModel cannot be transferred: with one more type, these tensors change in a way no "
        "rule covers: model.func.pair.extra." in done.stderr
    )
