"""Properties of a crystal with one model."""

from collections.abc import Callable
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator

from nequip_elemtransfer.materials import properties as materials
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.study.config.evaluation_settings import PropertySettings
from nequip_elemtransfer.study.property_names import EQUATION_OF_STATE, PHONONS

EOS_RATIOS = np.linspace(0.85, 1.15, 13)  # of the volume of the study's crystal


def properties_of(crystal: Crystal, calculator: Calculator, settings: PropertySettings) -> dict[str, Any]:
    """All properties that the model has; what fails is named with the reason, and the rest goes on.

    Returns:
        ``values`` by name, ``failed`` name -> reason, and ``equation_of_state`` and ``phonons`` as lists
    """
    found: dict[str, Any] = {"values": {}, "failed": {}}

    def attempt(name: str, calculate: Callable[[], Any]) -> Any:
        try:
            return calculate()
        except Exception as error:  # a model may fail in any way where it was never trained
            found["failed"][name] = f"{type(error).__name__}: {' '.join(str(error).split())}"

    def value(name: str, calculate: Callable[[], float]) -> None:
        number = attempt(name, calculate)
        if number is not None:
            found["values"][name] = float(number)

    energies = attempt(EQUATION_OF_STATE, lambda: materials.equation_of_state(crystal, calculator, EOS_RATIOS))
    if energies is not None:
        found[EQUATION_OF_STATE] = {
            "volumes": list(EOS_RATIOS * crystal.unit_cell().get_volume() / len(crystal.unit_cell())),
            "energies": energies.tolist(),
        }
    relaxed = attempt("lattice_constant", lambda: materials.equilibrium(crystal, calculator))
    if relaxed is None:
        return found
    value("lattice_constant", lambda: relaxed.a)
    value("bulk_modulus", lambda: materials.bulk_modulus(relaxed, calculator))
    constants = attempt("C11", lambda: materials.elastic_constants(relaxed, calculator)) or {}
    for name, number in constants.items():
        value(name, lambda number=number: number)
    bands = attempt(PHONONS, lambda: materials.phonon_bands(relaxed, calculator, settings.phonon_supercell))
    if bands is not None:
        value("highest_phonon", lambda: bands.frequencies.max())
        value("lowest_phonon", lambda: bands.frequencies.min())
        found[PHONONS] = {
            "x": bands.x.tolist(),
            "frequencies": bands.frequencies.tolist(),
            "ticks": bands.ticks.tolist(),
            "labels": list(bands.labels),
        }
    value(
        "vacancy_formation_energy",
        lambda: materials.vacancy_formation_energy(relaxed, calculator, settings.supercell),
    )
    for hkl in settings.surfaces:
        miller = tuple(int(index) for index in hkl)
        value(f"surface_energy_{hkl}", lambda miller=miller: materials.surface_energy(relaxed, calculator, miller))
    return found
