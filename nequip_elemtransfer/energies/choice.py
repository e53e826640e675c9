"""Energy scales and shifts of the target as the key asks for them: fitted, given, or referred to isolated atoms."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from nequip.data import AtomicDataDict, from_dict

from nequip_elemtransfer.config import ISOLATED_ATOMS, TransferConfig, implausible
from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.structures.labels import Labels


def energy_scales(
    config: TransferConfig, parts: NetworkParts, labels: Labels, frozen: np.ndarray
) -> fit.EnergyScaleFit:
    """α of each target type.

    Args:
        config: the parsed key
        parts: predictions at the target's lengths
        labels: of the same structures
        frozen: types whose α stays one unless a number is given for each type, shape (n_types,)

    Raises:
        NoResemblance: if it is to be fitted and the best α is not positive
        ValueError: if it is to be fitted and there are no labels to fit to, or no α that the key would take
    """
    setting = config.energy_scale
    if isinstance(setting, Mapping):
        return fit.EnergyScaleFit.given(np.array([setting[t] for t in config.type_names]))
    if setting != "fit":
        return fit.EnergyScaleFit.given(np.where(frozen, 1.0, 1.0 if setting == "none" else setting))
    terms = {kind: term for kind, term in parts.terms(labels).items() if config.fit_weights[kind] > 0}
    if not terms and not frozen.all():
        raise ValueError(
            "`element_transfer.energy_scale: fit` needs forces, energies or stresses, which the training structures or "
            "the model do not have (or `fit_weights` leaves out): add them, or give `energy_scale` in another way."
        )
    found = fit.fit_energy_scales(terms, config.fit_weights, frozen)
    _require_plausible("energy_scale", "α", found.scales, config.type_names)
    return found


def energy_shifts(
    config: TransferConfig,
    parts: NetworkParts,
    labels: Labels,
    alpha: np.ndarray,
    start: np.ndarray,
    frozen: np.ndarray,
) -> fit.EnergyShiftFit:
    """μ of each target type, unless it is referred to isolated atoms (see :func:`shifts_of_isolated_atoms`).

    Args:
        config, parts, labels, frozen: as for :func:`energy_scales`
        alpha: energy scales, shape (n_types,)
        start: shifts as they come from the source, eV, shape (n_types,)

    Raises:
        ValueError: if they are to be fitted and there are no energies to fit to, or no μ that the key would take
    """
    setting = config.energy_shifts
    if isinstance(setting, Mapping):
        return _given(np.array([setting[t] for t in config.type_names]))
    if setting == "source" or frozen.all():
        return _given(start)
    if not labels.has("energy"):
        raise ValueError(
            "`element_transfer.energy_shifts: fit` needs energies, which the training structures do not have: add "
            "them, or give `energy_shifts` in another way."
        )
    found = parts.fit_shifts(labels, alpha, start, frozen)
    _require_plausible("energy_shifts", "μ", found.shifts, config.type_names)
    return found


def shifts_of_isolated_atoms(
    config: TransferConfig, references: Mapping[str, float], alone: Labels, start: np.ndarray, frozen: np.ndarray
) -> fit.EnergyShiftFit:
    """μ with which the model gives isolated atoms their reference energy, so that it dissociates to it.

    Args:
        references: energy of an isolated atom of each type in eV
        alone: predictions for an isolated atom of each type, in order, at zero shifts
        start: shifts of frozen types, eV, shape (n_types,)

    Raises:
        ValueError: naming a type without a reference
    """
    missing = [t for t, f in zip(config.type_names, frozen) if not f and t not in references]
    if missing:
        raise ValueError(
            f"`element_transfer.energy_shifts: {ISOLATED_ATOMS}` finds no isolated atom of {', '.join(missing)} among "
            f"the training structures: add one, or give its energy, `energy_shifts: {{{ISOLATED_ATOMS}: "
            f"{{{missing[0]}: ...}}}}`."
        )
    asked = np.array([references.get(t, np.nan) for t in config.type_names]) - alone.energies
    return _given(np.where(frozen, start, asked))


def references_in(
    energies: np.ndarray, counts: np.ndarray, isolated: Sequence[int], types: Sequence[str]
) -> dict[str, float]:
    """Energy in eV of an isolated atom of each type that the structures tell, the mean where there are several.

    Args:
        energies: of the structures, NaN where missing, shape (n_frames,)
        counts: atoms of each type in each structure, shape (n_frames, n_types)
        isolated: indices of the structures that are isolated atoms, one or several far apart
    """
    known = [i for i in isolated if np.isfinite(energies[i])]
    n_atoms = counts[known].sum(axis=1, keepdims=True)
    fractions, per_atom = counts[known] / n_atoms, energies[known] / n_atoms[:, 0]
    inverse = np.linalg.pinv(fractions)  # (n_types, n_known)
    determined = np.isclose(np.diag(inverse @ fractions), 1.0)
    return {name: float(e) for name, e, told in zip(types, inverse @ per_atom, determined) if told}


def isolated_frames(n_types: int) -> list[AtomicDataDict.Type]:
    """A structure of one atom and no cell for each type."""
    return [
        from_dict(
            {
                AtomicDataDict.POSITIONS_KEY: np.zeros((1, 3)),
                AtomicDataDict.ATOM_TYPE_KEY: torch.tensor([t]),
                AtomicDataDict.CELL_KEY: np.zeros((3, 3)),
                AtomicDataDict.PBC_KEY: np.zeros(3, dtype=bool),
            }
        )
        for t in range(n_types)
    ]


def _require_plausible(setting: str, symbol: str, values: np.ndarray, types: Sequence[str]) -> None:
    for name, value in zip(types, values.tolist()):
        if meaning := implausible(setting, value):
            raise ValueError(
                f"`{setting}: fit` found {symbol} = {value:.3g} for {name}, which cannot be meant: {meaning}. Are the "
                "labels in another unit, or zeros where they are missing?"
            )


def _given(shifts: np.ndarray) -> fit.EnergyShiftFit:
    return fit.EnergyShiftFit(shifts, np.zeros(len(shifts)), 0, (), ())
