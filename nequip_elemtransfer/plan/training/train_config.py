"""The config for ``nequip-train`` that carries out a plan."""

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from nequip_elemtransfer.config import LabelKind
from nequip_elemtransfer.plan.result import Plan
from nequip_elemtransfer.plan.training.loss import Loss
from nequip_elemtransfer.plan.training.training_files import n_validation

BATCH_SIZE = 5
_MANAGER = "nequip.train.MetricsManager"
LABELLED_SQUARED_ERROR = "nequip_elemtransfer.train.partial_labels.LabelledSquaredError"

# files to train and to validate on
Copies = tuple[Path, Path]

# NequIP's names of what is trained on: as a loss or metric of several kinds, as a field, and in an error
_WRAPPERS: dict[tuple[LabelKind, ...], str] = {
    ("energy", "forces", "stress"): "EnergyForceStress",
    ("energy", "forces"): "EnergyForce",
    ("energy",): "EnergyOnly",
}
_FIELDS: dict[LabelKind, str] = {"energy": "total_energy", "forces": "forces", "stress": "stress"}
_NAMES: dict[LabelKind, str] = {"energy": "per_atom_energy", "forces": "forces", "stress": "stress"}
_STEPS_BETWEEN_VALIDATIONS = 50


def train_config(plan: Plan, *, fit: bool = False, copies: Copies | None = None) -> str:
    """A complete config as YAML text, with the reasons in comments; paths are absolute.

    Args:
        plan: to carry out
        fit: let ``nequip-train`` fit λ, α and μ again instead of taking the plan's numbers
        copies: files to train and to validate on, where the plan's own cannot be read as it is
    """
    n_train = plan.n_structures - n_validation(plan.n_structures)
    batch = min(BATCH_SIZE, n_train)
    loss, metrics = loss_sections(plan.loss, plan.reading.as_they_are)
    return _TEMPLATE.format(
        source=_path(plan.source),
        sha256=plan.sha256,
        elements=_flow(plan.elements),
        species=_species(plan.chemical_species),
        **_scales(plan, fit),
        data=_data(plan, copies),
        type_map=_type_map(plan.chemical_species, list(plan.elements)),
        batch=batch,
        steps=max_steps(n_train),
        epochs=max(1, round(_STEPS_BETWEEN_VALIDATIONS / math.ceil(n_train / batch))),
        reason=_reason(plan.loss),
        loss=_nested(loss),
        metrics=_nested(metrics),
    )


def max_steps(n_train: int) -> int:
    """Gradient steps: 600 for ten structures or fewer, 3000 for 150 or more, as in the example configs."""
    return int(min(3000, max(600, 20 * n_train)))


def _path(path: str) -> str:
    """Quoted, absolute if it is a file."""
    return json.dumps(str(Path(path).resolve()) if Path(path).is_file() else path, ensure_ascii=False)


def _flow(mapping: Mapping | Sequence[str]) -> str:
    """A mapping or list in YAML's one-line form; JSON is YAML."""
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


def _data(plan: Plan, copies: Copies | None) -> str:
    keys = [("include_keys", plan.reading.graph_fields), ("exclude_keys", plan.reading.unused)]
    rest = "".join(f"\n  {name}: {_flow(names)}" for name, names in keys if names)
    if copies is not None:
        train, val = (_path(str(path)) for path in copies)
        return (
            f"  # copies of {_path(plan.data)}\n"
            "  # in which missing labels are NaN; those for validation, which chooses the checkpoint, have every kind\n"
            f"  train_file_path: {train}\n  val_file_path: {val}{rest}"
        )
    n_val, path = n_validation(plan.n_structures), _path(plan.data)
    if not n_val:  # nothing to hold out
        return f"  train_file_path: {path}\n  val_file_path: {path}    # one structure: validation is training{rest}"
    return (
        f"  split_dataset:\n    file_path: {path}\n    train: {plan.n_structures - n_val}\n"
        f"    val: {n_val}                   # chooses the checkpoint; test on structures of your own{rest}"
    )


def loss_sections(loss: Loss, as_they_are: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sections ``loss`` and ``val_metrics`` of a training module.

    Args:
        as_they_are: whether every structure has every label
    """
    coeffs, errors = loss.coeffs, loss.mae_coeffs()
    if not as_they_are or tuple(coeffs) not in _WRAPPERS:
        return (
            {"_target_": _MANAGER, "metrics": _entries(coeffs, "mse", LABELLED_SQUARED_ERROR)},
            {"_target_": _MANAGER, "metrics": _entries(errors, "mae", "nequip.train.MeanAbsoluteError")},
        )
    name = _WRAPPERS[tuple(coeffs)]
    section: dict[str, Any] = {"_target_": f"nequip.train.{name}Loss", "per_atom_energy": True}
    if len(coeffs) > 1:
        section["coeffs"] = {_FIELDS[kind]: coeff for kind, coeff in coeffs.items()}
    maes = {f"{_NAMES[kind]}_mae": coeff for kind, coeff in errors.items()}
    return section, {"_target_": f"nequip.train.{name}Metrics", "coeffs": maes}


def _entries(coeffs: Mapping[LabelKind, float], suffix: str, metric: str) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{_NAMES[kind]}_{suffix}",
            "field": {"_target_": "nequip.data.PerAtomModifier", "field": "total_energy"}
            if kind == "energy"
            else _FIELDS[kind],
            "coeff": coeff,
            "ignore_nan": True,
            "metric": {"_target_": metric},
        }
        for kind, coeff in coeffs.items()
    ]


def _nested(section: Mapping) -> str:
    text = yaml.safe_dump(dict(section), sort_keys=False, allow_unicode=True)
    return textwrap.indent(text, "    ").rstrip()


def _reason(loss: Loss) -> str:
    units = {"energy": "energies {:.3g} eV/atom", "forces": "forces {:.3g} eV/Å", "stress": "stresses {:.3g} eV/Å³"}
    sizes = ", ".join(units[kind].format(rms) for kind, rms in loss.rms.items())
    text = f"An error of each kind counts in units of the spread of its labels: {sizes} (r.m.s.)."
    if "stress" in loss.coeffs and len(loss.coeffs) > 1:
        text += (
            " Stresses, nine numbers for a structure against three for each atom, count by their number, or forces "
            "would pay for them. More for stresses and energies makes better crystals, more for forces better forces."
        )
    if len(loss.coeffs) > 1:
        text += " NequIP divides by the sum of the weights. Those of val_metrics are the square roots."
    return textwrap.fill(text, 112, initial_indent="  # ", subsequent_indent="  # ")


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
{reason}
  loss:
{loss}
  val_metrics:
{metrics}
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
