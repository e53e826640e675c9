"""The config for ``nequip-train`` that carries out a plan."""

import json
import math
import textwrap
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from nequip_elemtransfer.architecture.builders import Architecture
from nequip_elemtransfer.architecture.duration import compiling_pays
from nequip_elemtransfer.config import LabelKind
from nequip_elemtransfer.optional_packages import extra
from nequip_elemtransfer.plan.result import Plan
from nequip_elemtransfer.plan.training.loss import Loss
from nequip_elemtransfer.structures.specs import absolute_spec, split_spec

with extra("plan", "a training's config"):
    from jinja2 import Environment, StrictUndefined

# structures in a step: as many as make about so many atoms, as in the example configs
_ATOMS_IN_A_STEP, _LARGEST_BATCH = 128, 5
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


def train_config(
    plan: Plan,
    *,
    fit: bool = False,
    copies: Copies | None = None,
    steps: int | None = None,
    scratch: Architecture | None = None,
) -> str:
    """A complete config as YAML text, with the reasons in comments; paths are absolute.

    Where the plan holds back no structure, it trains on all, and its last state, that of learning rate 0, is the model:
    `best.ckpt` is then the last. Otherwise the last step is validated.

    Args:
        plan: to carry out
        fit: let ``nequip-train`` fit λ, α and μ again instead of taking the plan's numbers
        copies: files to train and to validate on, where the plan's own cannot be read as it is
        steps: optimizer steps; None for :func:`max_steps`
        scratch: of a model of the plan's types to be trained from random weights instead; None transfers
    """
    n_train = plan.n_structures - plan.held_back
    batch = batch_size(plan)
    loss, metrics = loss_sections(plan.loss, plan.reading.as_they_are)
    species = plan.chemical_species
    values = {
        "plan": plan,
        "fit": fit,
        "scratch": None if scratch is None else _nested({k: v for k, v in scratch.items() if v is not None}),
        "copies": None if copies is None else [copy.resolve() for copy in copies],
        "scales": {
            name: {t: float(f"{v:.10g}") for t, v in getattr(plan, name).items()}
            for name in ("length_scale", "energy_scale", "energy_shifts")
        },
        "type_map": {species.get(t, t): t for t in plan.elements} if set(species) & set(plan.elements) else {},
        "batch": batch,
        "steps": max_steps(n_train) if steps is None else steps,
        "compile_mode": _compile_mode(plan, max_steps(n_train) if steps is None else steps, batch),
        "epochs": max(1, round(_STEPS_BETWEEN_VALIDATIONS / math.ceil(n_train / batch))),
        "between": _STEPS_BETWEEN_VALIDATIONS,
        "reason": _reason(plan.loss),
        "loss": _nested(loss),
        "metrics": _nested(metrics),
    }
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"path": _path, "flow": partial(json.dumps, ensure_ascii=False)}
    template = files(__package__).joinpath("train.yaml.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(values)


def batch_size(plan: Plan) -> int:
    """Structures in a step of the training."""
    whole = max(1, round(_ATOMS_IN_A_STEP * plan.n_structures / plan.sufficiency.n_atoms))
    return min(_LARGEST_BATCH, whole, plan.n_structures - plan.held_back)


def max_steps(n_train: int) -> int:
    """Gradient steps: 600 for ten structures or fewer, 3000 for 150 or more, as in the example configs."""
    return int(min(3000, max(600, 20 * n_train)))


def _compile_mode(plan: Plan, steps: int, batch: int) -> str:
    """The mode with its reason, where the source is compiled; else nothing."""
    if plan.structure_seconds is None:
        return ""
    seconds = plan.structure_seconds * batch
    whole = f"{steps * seconds:.0f} s"
    if compiling_pays(steps, seconds):
        return f"compile    # at the first step, one to three minutes; eager does without, and takes {whole} in all"
    return f"eager      # the source's, compile, takes one to three minutes at the first step; all steps take {whole}"


def _path(path: str | Path) -> str:
    """Quoted, absolute if it is a file or a folder, with a selection behind it as it was."""
    there = split_spec(path)[0].exists()
    return json.dumps(absolute_spec(path) if there else str(path), ensure_ascii=False)


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
