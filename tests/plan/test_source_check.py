"""A source is compared with its own structures and with a crystal, and told where it is wrong."""

import sys

import numpy as np
import pytest
from ase.build import bulk

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.data.stillinger_weber import stillinger_weber_calculator
from nequip_elemtransfer.inspection import look
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.plan.source_check import crystal as crystal_check
from nequip_elemtransfer.plan.source_check.check import faults_of, inherited
from nequip_elemtransfer.plan.source_check.crystal import (
    CrystalCheck,
    Property,
    check_crystal,
    lattice_constant_of_data,
)
from nequip_elemtransfer.plan.source_check.group_errors import (
    Evaluated,
    SourceErrors,
    evaluate,
    group_names,
    source_errors,
)
from nequip_elemtransfer.structures.labels import Labels


@pytest.fixture
def silicon(source, crystals):
    """Silicon labelled by the source itself, in two groups."""
    structures = crystals(source, "Si", 6, 5.4, length=1.0, energy=1.0, shift=0.0)
    for i, atoms in enumerate(structures):
        atoms.info = {"config_type": "odd" if i % 2 else "even"}
    return structures


def test_errors_by_group(source, silicon):
    """Energies of one group are moved by 1 eV per atom: its error, and half of it once the shift is refitted."""
    for atoms in silicon[1::2]:
        atoms.calc.results["energy"] += len(atoms)
        atoms.calc.results["forces"] = atoms.calc.results["forces"] + 0.2
    even, odd, every = source_errors(evaluate(source, ["Si"], silicon)).groups
    assert [(g.group, g.n_structures) for g in (even, odd, every)] == [("even", 3), ("odd", 3), ("all", 6)]
    assert [g.energy_mae.value for g in (even, odd, every)] == pytest.approx([0, 1, 0.5], abs=1e-9)
    assert [g.energy_mae_refitted.value for g in (even, odd, every)] == pytest.approx([0.5] * 3, abs=1e-9)
    assert [g.force_mae.value for g in (even, odd, every)] == pytest.approx([0, 0.2, 0.1], abs=1e-9)
    assert every.stress_mae.value == pytest.approx(0, abs=1e-12)


def test_groups_are_named_by_the_data(silicon):
    assert group_names(silicon) == ["even", "odd"] * 3
    del silicon[0].info["config_type"]
    assert group_names(silicon)[0] == "other"
    assert group_names([atoms.copy() for atoms in crystals_without_info(silicon)]) == ["all"] * 6


def crystals_without_info(structures):
    bare = [atoms.copy() for atoms in structures]
    for atoms in bare:
        atoms.info = {}
    return bare


@pytest.mark.parametrize("ratio", [0.98, 1.0, 1.03])
def test_the_data_s_lattice_constant_from_stresses(ratio):
    """σ = 3 B ln(a / a_0) with another a_0 for the source and for the data; defects and liquids have no say."""
    relaxed, modulus = Crystal("diamond", "Si", 5.4), 0.6
    structures = [bulk("Si", "diamond", a=5.4 * x, cubic=True) for x in (0.99, 1.0, 1.02)]
    molten = structures[0].copy()
    molten.rattle(0.8, seed=1)
    lengths = np.array([0.99, 1.0, 1.02, 0.99])

    def stresses(constant):
        return 3 * modulus * np.log(5.4 * lengths / constant)[:, None, None] * np.eye(3)

    wrong = stresses(5.4 * ratio)
    wrong[3] += 10.0
    nothing = np.zeros(4), np.zeros((32, 3))
    found = Evaluated(
        [*structures, molten], ["all"] * 4, Labels(*nothing, wrong), Labels(*nothing, stresses(5.4)), np.full((4, 1), 8)
    )
    assert lattice_constant_of_data(relaxed, modulus, found) == pytest.approx(5.4 * ratio, rel=1e-12)
    assert lattice_constant_of_data(Crystal("fcc", "Si", 4.0), modulus, found) is None


@pytest.fixture
def stillinger_weber(monkeypatch):
    """The source is the Stillinger-Weber potential."""
    monkeypatch.setattr(crystal_check, "source_calculator", lambda *args: stillinger_weber_calculator("Si"))


def test_a_crystal_of_stillinger_weber_silicon(source, stillinger_weber):
    """Published: a = 5.431 Å, C11 151.4, C12 76.4, C44 56.4 GPa (Balamane, Halicioglu and Tiller 1992)."""
    found = check_crystal(source, ["Si"], Crystal("diamond", "Si", 5.6), {"C11": 151.4}, None)
    values = {p.name: p.value for p in found.properties}
    assert values["lattice_constant"] == pytest.approx(5.431, abs=2e-3)
    assert [values[name] for name in ("C11", "C12", "C44")] == pytest.approx([151.4, 76.4, 56.4], rel=0.02)
    assert {p.name: p.reference for p in found.properties if p.reference} == {"lattice_constant": 5.6, "C11": 151.4}
    assert found.failed == {}
    (fault,) = faults_of(None, found)
    assert "lattice constant of diamond Si is 5.431 Å, -3.0% from the reference, 5.6 Å" in fault.sentence


def test_no_phonons_without_phonopy(source, stillinger_weber, monkeypatch):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    found = check_crystal(source, ["Si"], Crystal("diamond", "Si", 5.43), {}, None)
    assert list(found.failed) == ["phonons"] and "nequip-elemtransfer[study]" in found.failed["phonons"]
    assert "C44" in {p.name for p in found.properties}


def test_a_crystal_without_a_minimum_is_a_fault(source, stillinger_weber):
    found = check_crystal(source, ["Si"], Crystal("diamond", "Si", 4.2), {}, None)
    assert found.properties == [] and "no minimum of the energy" in found.failed["lattice_constant"]
    assert [fault.mended_by_stresses for fault in faults_of(None, found)] == [True]


def crystal_with(name, value, reference=None, data=None):
    return CrystalCheck("diamond", "Si", [Property(name, value, reference, data)], {})


@pytest.mark.parametrize(
    "name, value, reference, data, wrong",
    [
        ("lattice_constant", 5.48, 5.43, None, False),
        ("lattice_constant", 5.49, 5.43, None, True),
        ("lattice_constant", 5.43, 5.43, 5.5, True),
        ("C11", 125.0, 150.0, None, False),
        ("C11", 115.0, 150.0, None, True),
        ("C44", 20.0, None, None, False),
        ("vacancy_formation_energy", 1.0, 3.0, None, True),
        ("lowest_phonon", -0.2, None, None, False),
        ("lowest_phonon", -0.5, None, None, True),
    ],
)
def test_what_counts_as_a_fault(name, value, reference, data, wrong):
    assert bool(faults_of(None, crystal_with(name, value, reference, data))) is wrong


def test_stresses_mend_volumes_and_nothing_else_does():
    volume = faults_of(None, crystal_with("lattice_constant", 5.7, 5.43))
    unlearned = faults_of(SourceErrors([], {"stress": 0.9}), None)
    stiffness = faults_of(None, crystal_with("C11", 90.0, 150.0))
    for fault in (volume, unlearned):
        assert inherited(fault, ("energy", "forces"), 0)[0][0].endswith("no stresses to mend it.")
        assert "only 2 of the target's structures have stresses" in inherited(fault, ("forces", "stress"), 2)[0][0]
        warnings, notes = inherited(fault, ("forces", "stress"), 10)
        assert warnings == [] and "the stresses of 10 structures can mend it" in notes[0]
    warnings, notes = inherited(stiffness, ("energy", "forces", "stress"), 10)
    assert notes == [] and "inherits it, unless its structures show strained cells with stresses" in warnings[0]


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--crystal", "diamond"], "written as structure:formula:lattice constant"),
        (["--crystal", "diamond:Si:big"], "'big' in 'diamond:Si:big' is no number"),
        (["--crystal", "diamond:Si:-5"], "must be a positive length"),
        (["--crystal", "dimond:Si:5.4"], "unknown cubic structure 'dimond'"),
        (["--crystal", "diamond:GaAs:5.4"], "no diamond crystal of formula 'GaAs'"),
        (["--crystal", "diamond:Ge:5.66"], "holds Ge, which the source does not know (Si)"),
        (["--crystal", "diamond:Si:5.43", "--reference", "C13=1"], "no property is called 'C13'; did you mean"),
        (["--crystal", "diamond:Si:5.43", "--reference", "C11=hard"], "'hard' is no number"),
        (["--crystal", "diamond:Si:5.43", "--reference", "C11=nan"], "must be a finite number"),
        (["--reference", "C11=150"], "--reference needs --crystal"),
        (["--data", "nowhere.xyz"], "'nowhere.xyz' does not exist"),
    ],
)
def test_bad_input_is_one_sentence(source, monkeypatch, capsys, tmp_path, options, sentence):
    (tmp_path / "source.ckpt").touch()
    monkeypatch.setattr(look, "load_source", lambda path: source)
    assert main(["inspect", str(tmp_path / "source.ckpt"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nequip-elemtransfer: ") and error.count("\n") == 1 and sentence in error
