"""The config for ``nequip-train`` that carries out a plan."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from nequip_elemtransfer.plan.outcome import Plan

BATCH_SIZE = 5
_STEPS_BETWEEN_VALIDATIONS = 50


def train_config(plan: Plan, *, fit: bool = False) -> str:
    """A complete config as YAML text, with the reasons in comments; paths are absolute.

    Args:
        plan: to carry out
        fit: let ``nequip-train`` fit λ, α and μ again instead of taking the plan's numbers
    """
    n_train = plan.n_structures - _n_val(plan.n_structures)
    batch = min(BATCH_SIZE, n_train)
    return _TEMPLATE.format(
        source=_path(plan.source),
        sha256=plan.sha256,
        elements=_flow(plan.elements),
        species=_species(plan.chemical_species),
        **_scales(plan, fit),
        data=_data(plan),
        type_map=_type_map(plan.chemical_species, list(plan.elements)),
        batch=batch,
        steps=max_steps(n_train),
        epochs=max(1, round(_STEPS_BETWEEN_VALIDATIONS / math.ceil(n_train / batch))),
        **_labels(plan),
    )


def max_steps(n_train: int) -> int:
    """Gradient steps: 600 for ten structures or fewer, 3000 for 150 or more, as in the example configs."""
    return int(min(3000, max(600, 20 * n_train)))


def _n_val(n: int) -> int:
    return 0 if n == 1 else max(1, round(0.1 * n))


def _path(path: str) -> str:
    """Quoted, absolute if it is a file."""
    return json.dumps(str(Path(path).resolve()) if Path(path).is_file() else path, ensure_ascii=False)


def _flow(mapping: Mapping) -> str:
    """A mapping in YAML's one-line form; JSON is YAML."""
    return json.dumps(mapping, ensure_ascii=False)


def _scales(plan: Plan, fit: bool) -> dict[str, str]:
    if fit:
        return {"length_scale": "fit", "energy_scale": "fit", "energy_shifts": "fit"}
    rounded = {
        "length_scale": plan.length_scale,
        "energy_scale": plan.energy_scale,
        "energy_shifts": plan.energy_shifts,
    }
    return {name: _flow({t: round(v, 6) for t, v in values.items()}) for name, values in rounded.items()}


def _species(species: Mapping[str, str]) -> str:
    return f"  chemical_species: {_flow(species)}\n" if species else ""


def _type_map(species: Mapping[str, str], types: list[str]) -> str:
    if not any(t in species for t in types):
        return ""
    symbols = {species.get(t, t): t for t in types}
    return f"      chemical_species_to_atom_type_map: {_flow(symbols)}\n"


def _data(plan: Plan) -> str:
    n_val, path = _n_val(plan.n_structures), _path(plan.data)
    if not n_val:  # nothing to hold out
        return f"  train_file_path: {path}\n  val_file_path: {path}    # one structure: validation is training"
    return (
        f"  split_dataset:\n    file_path: {path}\n    train: {plan.n_structures - n_val}\n"
        f"    val: {n_val}                   # chooses the checkpoint; test on structures of your own"
    )


def _labels(plan: Plan) -> dict[str, str]:
    if "forces" in plan.labels:
        return {
            "loss": "nequip.train.EnergyForceLoss",
            "loss_coeffs": "    coeffs: {total_energy: 1.0, forces: 1.0}\n",
            "metrics": "nequip.train.EnergyForceMetrics",
            "metrics_coeffs": "{per_atom_energy_mae: 1.0, forces_mae: 1.0}",
        }
    return {
        "loss": "nequip.train.EnergyOnlyLoss",
        "loss_coeffs": "",
        "metrics": "nequip.train.EnergyOnlyMetrics",
        "metrics_coeffs": "{per_atom_energy_mae: 1.0}",
    }


_TEMPLATE = """\
# Written by `nequip-elemtransfer plan`. Run it with
#   nequip-train -cp FOLDER_OF_THIS_FILE -cn train
run: [train]

device: cpu                # cuda on a GPU
seed: 0
max_steps: {steps}            # the error of a transfer levels off early: the best checkpoint is kept

element_transfer:
  source: {source}
  sha256: {sha256}
  elements: {elements}
{species}  # found by the plan and fixed, so that the start is reproducible; `fit` fits each again
  length_scale: {length_scale}
  energy_scale: {energy_scale}
  energy_shifts: {energy_shifts}

model_type_names: ${{element_transfer:type_names}}
cutoff_radius: ${{element_transfer:r_max}}

data:
  _target_: nequip.data.datamodule.ASEDataModule
  seed: ${{seed}}
{data}
  transforms:
    - _target_: nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper
      model_type_names: ${{model_type_names}}
{type_map}    - _target_: nequip.data.transforms.NeighborListTransform
      r_max: ${{cutoff_radius}}
  train_dataloader:
    _target_: torch.utils.data.DataLoader
    batch_size: {batch}          # small, so that few structures still give many steps
    shuffle: true
  val_dataloader:
    _target_: torch.utils.data.DataLoader
    batch_size: 16

trainer:
  _target_: lightning.Trainer
  accelerator: ${{device}}
  devices: 1
  max_steps: ${{max_steps}}
  max_epochs: -1
  check_val_every_n_epoch: {epochs}  # about every {between} steps
  log_every_n_steps: 10
  logger:
    _target_: lightning.pytorch.loggers.CSVLogger
    save_dir: ${{hydra:runtime.output_dir}}
    name: metrics
    version: ""
  callbacks:
    - _target_: lightning.pytorch.callbacks.ModelCheckpoint
      monitor: val0_epoch/weighted_sum
      dirpath: ${{hydra:runtime.output_dir}}
      filename: best
      save_last: true
      save_on_train_epoch_end: true  # with EMA a checkpoint must not be saved inside a validation

training_module:
  _target_: nequip.train.EMALightningModule
  ema_decay: 0.99
  loss:
    _target_: {loss}
    per_atom_energy: true
{loss_coeffs}  val_metrics:
    _target_: {metrics}
    coeffs: {metrics_coeffs}
  optimizer:
    _target_: torch.optim.Adam
    lr: 0.002              # below the 0.005 of a start from random weights: the start is good, and is to be kept
  lr_scheduler:
    scheduler:
      _target_: torch.optim.lr_scheduler.CosineAnnealingLR
      T_max: ${{max_steps}}
    interval: step
  model: ${{element_transfer:model}}
""".replace("{between}", str(_STEPS_BETWEEN_VALIDATIONS))
