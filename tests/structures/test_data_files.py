"""One table of files as people have them: each is read right, with what was done said, or refused by name."""

import bz2
import gzip
import lzma
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from made_files import (
    ATOMS,
    CELL,
    ENERGIES,
    N,
    as_text,
    calculated,
    crystals,
    forces,
    labelled,
    stress,
    virial,
    written,
)
from nequip.data.dataset import ASEDataset

from nequip_elemtransfer.structures.options import DataOptions
from nequip_elemtransfer.structures.reading import read_files, read_structures
from nequip_elemtransfer.structures.specs import absolute_spec

NAN = float("nan")
DFT = labelled("dft_energy", "dft_forces", "dft_stress")
AS_DFT = {"dft_energy": "energy", "dft_forces": "forces", "dft_stress": "stress"}


def other(i, atoms):
    """Forces of another calculator."""
    return forces(i) + 0.3


@dataclass(frozen=True)
class Read:
    """What becomes of a file.

    Args:
        key: what ``--key`` says
        kinds: labels that come out, each the one of ``made_files``
        said: words of the sentences; empty for no sentence at all
        nequip: NequIP's key mapping, with which it reads the same; None where it needs a copy
        excluded: NequIP's ``exclude_keys``
        count: structures
    """

    key: dict = field(default_factory=dict)
    kinds: tuple = ("energy", "forces", "stress")
    said: str = ""
    nequip: dict | None = field(default_factory=dict)
    excluded: tuple = ()
    count: int = N


READ = {
    "NequIP's names": (labelled(), Read()),
    "in a calculator": (calculated(energy=lambda i: ENERGIES[i], forces=forces, stress=stress), Read()),
    "forces alone": (labelled(None, "forces", None), Read(kinds=("forces",))),
    "no labels": (crystals(), Read(kinds=())),
    "janus": (
        DFT,
        Read(AS_DFT, said="Read dft_energy as energy and dft_forces as forces", nequip={
            "dft_energy": "total_energy", "dft_forces": "forces", "dft_stress": "stress"}),
    ),
    "MACE": (
        labelled("REF_energy", "REF_forces", None),
        Read({"REF_energy": "energy", "REF_forces": "forces"}, ("energy", "forces"), "REF_forces as forces",
             {"REF_energy": "total_energy", "REF_forces": "forces"}),
    ),
    "NEP": (labelled("energy", "force", None), Read({"force": "forces"}, ("energy", "forces"), "force", {
        "force": "forces"})),
    "a capital letter": (labelled("Energy"), Read({"Energy": "energy"}, said="Energy", nequip={
        "Energy": "total_energy"})),
    "free energy alone": (
        calculated(free_energy=lambda i: ENERGIES[i], forces=forces),
        Read({"free_energy": "energy"}, ("energy", "forces"), "free_energy as energy", {"free_energy": "total_energy"}),
    ),
    "free energy beside": (labelled(free_energy=lambda i, a: ENERGIES[i] - 0.1), Read()),
    "virials asked for": (
        labelled(stress_as=None, virial=virial), Read({"virial": "virial"}, said="σ = −W / V, .* tension", nequip=None)
    ),
    "MACE's virials": (
        labelled(stress_as=None, virials=lambda i, a: virial(i, a).reshape(9)),
        Read({"virials": "virial"}, said="Converted virials to stress", nequip=None),
    ),
    "virials of six": (
        labelled(stress_as=None, W_virial=lambda i, a: full_3x3_to_voigt_6_stress(virial(i, a))),
        Read({"W_virial": "virial"}, said="Converted W_virial", nequip=None),
    ),
    "virials left": (
        labelled(stress_as=None, virial=virial),
        Read({"virial": ""}, ("energy", "forces"), "Left aside in .*: virial", excluded=("virial",)),
    ),
    "virials that agree": (labelled(virial=virial), Read()),
    "gradients": (
        labelled(forces_as=None, gradient=lambda i, a: -forces(i)),
        Read({"gradient": "gradient"}, said="F = −gradient", nequip=None),
    ),
    "energies per atom": (
        labelled(None, energy_per_atom=lambda i, a: ENERGIES[i] / 2),
        Read({"energy_per_atom": "energy_per_atom"}, said="number of atoms", nequip=None),
    ),
    "the same under two names": (
        labelled(REF_energy=lambda i, a: ENERGIES[i], REF_forces=lambda i, a: forces(i)), Read()
    ),
    "two answers, the other chosen": (
        labelled(None, None, None, energy=lambda i, a: ENERGIES[i] + 1, forces=other, REF_energy=lambda i, a:
                 ENERGIES[i], REF_forces=lambda i, a: forces(i)),
        Read({"REF_energy": "energy", "REF_forces": "forces"}, ("energy", "forces"), "REF_energy as energy",
             {"REF_energy": "total_energy", "REF_forces": "forces"}, ("energy", "forces")),
    ),
    "two answers, the usual chosen": (
        labelled(mace_forces=other), Read({"mace_forces": ""}, said="Left aside", excluded=("mace_forces",))
    ),
    "uncertainties beside": (
        labelled(forces_std=other, energy_uncertainty=lambda i, a: 0.1, stress_weight=lambda i, a: 2.0), Read()
    ),
    "settings beside": (
        labelled(elec_energy_tol=lambda i, a: 1e-8, cut_off_energy=lambda i, a: "650 eV", energy_sigma=lambda i, a: 1.0,
                 force_tolerance=lambda i, a: 0.1), Read(),
    ),
    "energies beside": (
        labelled(kinetic_energy=lambda i, a: 1.0, formation_energy=lambda i, a: 0.2, fermi_energy=lambda i, a: 5.0,
                 energy_above_hull=lambda i, a: 0.0, energy_per_atom=lambda i, a: -4.0), Read(),
    ),
    "vectors beside": (
        labelled(forces_as=None, velocities=lambda i, a: forces(i), frac_pos=lambda i, a: forces(i),
                 dipoles=lambda i, a: forces(i)), Read(kinds=("energy", "stress")),
    ),
    "words and whole numbers": (labelled(config_type=lambda i, a: "bulk", natoms=lambda i, a: 2), Read()),
    "NaN under another name": (labelled(forces_as=None, dft_forces=lambda i, a: forces(i) * NAN), Read(kinds=(
        "energy", "stress"))),
    "a column of unknown name": (
        labelled(forces_as=None, F=lambda i, a: forces(i)),
        Read({"F": "forces"}, said="F as forces", nequip={"F": "forces"}),
    ),
    "a column of no label": (
        labelled(forces_as=None, F=lambda i, a: forces(i)),
        Read({"F": ""}, ("energy", "stress"), "Left aside", excluded=("F",)),
    ),
    "NequIP's own label left": (
        labelled(), Read({"stress": ""}, ("energy", "forces"), "Left aside", excluded=("stress",))
    ),
    "line ends of Windows": (lambda: _text(labelled()).replace("\n", "\r\n"), Read()),
    "line ends of old Macs": (lambda: _text(labelled()).replace("\n", "\r"), Read()),
    "empty lines at the end": (lambda: _text(labelled()) + "\n \n", Read()),
}  # fmt: skip


def _text(made):
    import io

    buffer = io.StringIO()
    ase.io.write(buffer, made, format="extxyz")
    return buffer.getvalue()


def assert_labels(structures, kinds):
    """The labels of ``made_files``, of these kinds and no others, under NequIP's names."""
    for i, atoms in enumerate(structures):
        results = dict(atoms.calc.results) if atoms.calc else {}
        assert {*results} & {"energy", "forces", "stress"} == {*kinds}
        expected = {"energy": ENERGIES[i], "forces": forces(i), "stress": full_3x3_to_voigt_6_stress(stress(i))}
        for kind in kinds:
            value = np.asarray(results[kind])
            value = full_3x3_to_voigt_6_stress(value.reshape(3, 3)) if value.size == 9 else value
            np.testing.assert_allclose(value, expected[kind], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("case", READ)
def test_read(case, tmp_path):
    made, expected = READ[case]
    path = written(tmp_path, made() if callable(made) else made)
    read = read_structures(path, DataOptions(expected.key))
    assert len(read.structures) == expected.count
    assert_labels(read.structures, expected.kinds)
    text = " ".join(read.said)
    assert bool(text) == bool(expected.said)
    assert not expected.said or re.search(expected.said, text), text
    assert read.converted is (expected.nequip is None)
    assert read.excluded == expected.excluded
    if expected.nequip is not None:
        assert read.key_mapping == expected.nequip
        of_nequip = ASEDataset(str(path), key_mapping=dict(read.key_mapping), exclude_keys=list(read.excluded))
        fields = {"energy": "total_energy", "forces": "forces", "stress": "stress"}
        for i, frame in enumerate(of_nequip.data_list):  # what train.yaml reads is what the plan has read
            assert {kind for kind, name in fields.items() if name in frame} == {*expected.kinds}
            if "forces" in expected.kinds:
                np.testing.assert_allclose(frame["forces"], forces(i), atol=1e-7)


REFUSED = {
    # labels under other names
    "janus": (DFT, r"structure 0 of .* has no energies, forces or stresses where NequIP looks, and 'dft_energy', "
              r"'dft_forces' of shape \(2, 3\), 'dft_stress' .*--key dft_energy=energy --key dft_forces=forces --key "
              r"dft_stress=stress.*key_mapping: {dft_energy: total_energy, dft_forces: forces, dft_stress: stress}"),
    "MACE": (labelled("REF_energy", "REF_forces", "REF_stress"), "--key REF_energy=energy --key REF_forces=forces"),
    "NEP": (labelled(forces_as="force"), "has no forces .*'force' .*--key force=forces"),
    "a capital letter": (labelled("Energy"), "has no energies .*--key Energy=energy"),
    "all capitals": (labelled(forces_as="FORCES"), "--key FORCES=forces"),
    "free energy alone": (labelled("free_energy"), "--key free_energy=energy"),
    "NequIP's field": (labelled("total_energy"), "--key total_energy=energy"),
    "potential energy": (labelled("potential_energy"), "--key potential_energy=energy"),
    "a suffix": (labelled("energy_pbe", "forces_pbe"), "--key energy_pbe=energy --key forces_pbe=forces"),
    "per atom": (labelled("energy_per_atom"), "--key energy_per_atom=energy_per_atom"),
    "virials": (labelled(stress_as=None, virial=virial), "no stresses .*--key virial=virial.*VirialToStressTransform"),
    "MACE's virials": (
        labelled(stress_as=None, virials=virial), "--key virials=virial.*key_mapping: {virials: virial}"
    ),
    "gradients": (labelled(forces_as=None, gradient=lambda i, a: -forces(i)), "--key gradient=gradient.*a copy"),
    "a column of three": (labelled(forces_as=None, F=lambda i, a: forces(i)), r"'F' of shape \(2, 3\) looks like that"),
    "one letter": (labelled(n=2) + labelled("E", n=1), "structure 2 of .* has no energies .*--key E=energy"),
    "one structure otherwise": (
        labelled(n=2) + labelled(forces_as="force", n=1), "structure 2 of .* no forces .*force=forces"
    ),
    "NaN under NequIP's": (
        labelled(forces_as=None, forces=lambda i, a: forces(i) * NAN, dft_forces=lambda i, a: forces(i)),
        "has no forces .*dft_forces=forces",
    ),
    # two answers
    "two forces": (
        labelled(REF_forces=other),
        r"two answers: forces and REF_forces \(they differ by up to 0.3 eV/Å\). Take forces with --key REF_forces=, .*"
        r"exclude_keys: \[REF_forces\].*or take REF_forces with --key REF_forces=forces, .*exclude_keys: \[forces\]",
    ),
    "two energies": (labelled(REF_energy=lambda i, a: ENERGIES[i] - 40), "energy and REF_energy .* 40 eV"),
    "two stresses": (labelled(dft_stress=lambda i, a: 2 * stress(i)), "stress and dft_stress"),
    "a virial of the other sign": (labelled(virial=lambda i, a: -virial(i, a)), "stress and virial"),
    "two of everything": (
        labelled(REF_energy=lambda i, a: 1.0, REF_forces=other), "--key REF_energy=energy --key REF_forces=forces"
    ),
    "two for none": (
        labelled(forces_as=None, pbe_forces=lambda i, a: forces(i), mace_forces=other),
        r"'pbe_forces' of shape \(2, 3\) or 'mace_forces' .*or another for forces",
    ),
    # damage
    "an empty line": (
        lambda: _text(labelled(n=1)) + "\n" + _text(labelled(n=1)), "text behind the empty line 5.* 1 structure"
    ),
    "a cut file": (lambda: _text(labelled())[:-80], "cannot be read by ASE"),
    "a thousand million atoms": (lambda: "1000000000" + _text(labelled())[1:], "announces 1000000000 atoms"),
    "an integer energy": (lambda: as_text((CELL + " energy=-4", ATOMS)), "structure 0 .*energy '-4': .* decimal point"),
    "stars for an energy": (lambda: as_text((CELL + " energy=****", ATOMS)), r"structure 0 .*energy '\*\*\*\*'"),
    "two energies in one": (lambda: as_text((CELL + ' energy="1.0 2.0"', ATOMS)), r"energies of shape \(2,\)"),
    "an infinite energy": (labelled(None, energy=lambda i, a: np.inf if i == 1 else -1.0), "structure 1 .* infinite"),
    "an absurd force": (
        labelled(forces_as=None, forces=lambda i, a: forces(i) * 1e300), "absurd .* forces label of atom"
    ),
    "five stresses": (labelled(stress_as=None, stress=lambda i, a: np.ones(5)), "stress"),
    "a mapped word": (lambda: as_text((CELL + " dft_energy=low", ATOMS)), "structure 0 .*energy 'low'", {
        "dft_energy": "energy"}),
    "a mapped column of two": (
        labelled(forces_as=None, F=lambda i, a: forces(i)[:, :2]), r"forces of shape \(2, 2\)", {"F": "forces"}),
    "a virial of four": (
        labelled(stress_as=None, virials=lambda i, a: np.ones(4)), r"no virial: numbers of shape \(6,\)", {
            "virials": "virial"}),
    "no atoms": (lambda: [*labelled(), Atoms(cell=[5, 5, 5], pbc=True)], f"structure {N} of .* has no atoms"),
    "a NaN position": (lambda: as_text((CELL, ["Ge nan 0 0", ATOMS[1]])), "position of atom 0 of structure 0"),
    "a NaN cell": (lambda: as_text((CELL.replace("0 2.8", "nan 2.8", 1), ATOMS)), "cell of structure 0 .* finite"),
    "a flat cell": (lambda: as_text((CELL.replace("2.8 2.8 0", "2.8 2.8 5.6", 1), ATOMS)), "lie in a plane"),
    "a cell of zeros": (
        lambda: as_text((CELL.replace("2.8", "0") + ' pbc="T T T"', ATOMS)), "structure 0 .* cell vector of length zero"
    ),
    "atoms upon each other": (lambda: as_text((CELL, ["Ge 0 0 0", "Ge 0.1 0 0"])), "atoms 0 and 1 0.1 Å apart"),
    "upon an image": (lambda: as_text((CELL, ["Ge 0 0 0", "Ge 0 2.8 2.9"])), "atoms 0 and 1 0.1 Å apart"),
    "no element": (lambda: as_text((CELL, ["X 0 0 0", ATOMS[1]])), "atom 0 of structure 0 .* no chemical element"),
    # what is said of names
    "a slip in --key": (DFT, "--key names 'dft_force', .*did you mean 'dft_forces'", {"dft_force": "forces"}),
    # files of others
    "no text": ("", "structures.xyz"),
    "prose": ("It was a dark and stormy night.\n", "cannot be read by ASE"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path):
    made, pattern, *key = REFUSED[case]
    path = written(tmp_path, made() if callable(made) else made)
    with pytest.raises(ValueError, match=f"(?s){pattern}"):
        read_structures(path, DataOptions(*key))


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_files_are_looked_through(suffix, compress, tmp_path):
    whole, cut = _text(labelled()), _text(labelled(n=1)) + "\n" + _text(labelled(n=2))
    path = written(tmp_path, compress(whole.encode()), "a.xyz" + suffix)
    assert_labels(read_structures(path).structures, ("energy", "forces", "stress"))
    with pytest.raises(ValueError, match="behind the empty line 5"):
        read_structures(written(tmp_path, compress(cut.encode()), "b.xyz" + suffix))


def test_extended_xyz_under_any_name(tmp_path):
    """ASE tells the format by what is in the file."""
    with pytest.raises(ValueError, match="behind the empty line 5"):
        read_structures(written(tmp_path, _text(labelled(n=1)) + "\n" + _text(labelled(n=1)), "frames.extxyz"))


@pytest.mark.parametrize(
    ("selection", "first", "count"), [("@:2", 0, 2), ("@-2:", 1, 2), ("@1", 1, 1), ("@::2", 0, 2), ("@-1", 2, 1)]
)
@pytest.mark.parametrize("name", ["a.xyz", "a.traj"])
def test_selections_of_ase(selection, first, count, name, tmp_path):
    made = calculated(energy=lambda i: ENERGIES[i], forces=forces)
    read = read_structures(f"{written(tmp_path, made, name)}{selection}")
    assert len(read.structures) == count == len(ASEDataset(read.spec).data_list)
    assert read.structures[0].calc.results["energy"] == ENERGIES[first]
    assert absolute_spec(read.spec) == str(tmp_path / name) + selection


def test_selections_of_a_database(tmp_path):
    path = written(tmp_path, calculated(energy=lambda i: ENERGIES[i], forces=forces), "a.db")
    read = read_structures(f"{path}@energy<-8.1")
    assert [atoms.calc.results["energy"] for atoms in read.structures] == ENERGIES[1:]
    assert len(read_structures(path).structures) == len(read_structures(f"{path}@:").structures) == N
    with pytest.raises(ValueError, match="no structures"):
        read_structures(f"{path}@energy>0")


def test_what_a_database_holds_beside_its_structures(tmp_path):
    """ASE's reader leaves the data and the pairs of a row out, and NequIP with it."""
    with ase.db.connect(tmp_path / "a.db") as database:
        for i, atoms in enumerate(crystals()):
            database.write(atoms, data={"forces": forces(i)}, dft_energy=ENERGIES[i])
    with pytest.raises(ValueError, match="--key key_value_pairs.dft_energy=energy --key data.forces=forces.* a copy"):
        read_structures(tmp_path / "a.db")
    key = {"data.forces": "forces", "key_value_pairs.dft_energy": "energy"}
    read = read_structures(tmp_path / "a.db", DataOptions(key))
    assert_labels(read.structures, ("energy", "forces"))
    assert read.converted and not {*read.structures[0].info}


def test_a_literal_at_sign(tmp_path):
    """ASE looks for a selection behind it, so that NequIP needs a copy."""
    read = read_structures(written(tmp_path, labelled(), "pbe@300K.xyz"))
    assert read.converted and len(read.structures) == N


def test_one_key_for_several_files(tmp_path):
    one, two = written(tmp_path, DFT, "a.xyz"), written(tmp_path, labelled(), "b.xyz")
    read = read_files([one, two], DataOptions(AS_DFT))
    for each in read:
        assert_labels(each.structures, ("energy", "forces", "stress"))
    assert not read[1].said and not read[1].key_mapping
    with pytest.raises(ValueError, match="names 'E', which no structure of .*a.xyz' and .*b.xyz' has"):
        read_files([one, two], DataOptions(AS_DFT | {"E": "energy"}))


def test_molecules_have_no_stress_to_look_for(tmp_path):
    made = [Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.75]], info={"energy": -31.0, "virial": np.eye(3)})]
    assert not read_structures(written(tmp_path, made)).said


def test_where_labels_are_of_no_use_unclear_ones_are_said(tmp_path):
    read = read_structures(written(tmp_path, DFT), labels=False)
    assert len(read.said) == 1 and "Left aside" in read.said[0] and "dft_energy, dft_forces, dft_stress" in read.said[0]


FOREIGN = {
    "deepmd": ({"data/type.raw": "0 0\n", "data/set.000/coord.npy": "x"}, "data", "dpdata.*deepmd/npy"),
    "deepmd raw": ({"data/type.raw": "0 0\n", "data/coord.raw": "0 0\n"}, "data", "dpdata.*deepmd/raw"),
    "FitSNAP": ({"a.json": '# comment\n{"Dataset": {"Data": []}}'}, "a.json", "FitSNAP.*SinglePointCalculator"),
    "pacemaker": ({"a.pckl.gzip": "x" * 50}, "a.pckl.gzip", "pickle is a program.*pandas"),
    "NumPy": ({"a.npz": "PK"}, "a.npz", "NumPy.*NPZDataset"),
    "HDF5": ({"a.h5": "x"}, "a.h5", "HDF5"),
    "LMDB": ({"a.lmdb": "x"}, "a.lmdb", "NequIPLMDBDataset"),
    "MLIP": ({"a.cfg": "BEGIN_CFG\n Size\n 2\nEND_CFG\n"}, "a.cfg", "MTP"),
    "OUTCAR": ({"OUTCAR": " vasp.6.3.2\n"}, "OUTCAR", "vasprun.xml.*dpdata"),
    "a folder": ({"data/a.txt": "x"}, "data", "is a folder"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_formats_that_ase_does_not_read(case, tmp_path):
    files, name, pattern = FOREIGN[case]
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=pattern):
        read_structures(tmp_path / name)


def test_a_missing_file_is_named_with_the_folder_that_it_was_looked_for_in(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"'gone.xyz' does not exist .*{os.getcwd()}"):
        read_structures("gone.xyz@:3")


WILD = Path(__file__).parents[3] / "shared" / "data" / "wild"


@pytest.mark.skipif(not WILD.is_dir(), reason="the real files of ../shared/data/wild are not here")
@pytest.mark.parametrize(
    ("name", "pattern", "key", "kinds"),
    [
        ("carbon_force_virial.xyz", "'force' .*'virial' .*--key force=forces --key virial=virial",
         {"force": "forces", "virial": "virial"}, ("energy", "forces", "stress")),
        ("oxide_dft_names.xyz", "--key dft_energy=energy --key dft_forces=forces --key dft_stress=stress", AS_DFT,
         ("energy", "forces", "stress")),
        ("ethanol_kcal.xyz", None, {}, ("energy", "forces")),
        ("copper_dft.xyz", None, {}, ("energy", "forces", "stress")),
    ],
)  # fmt: skip
def test_real_files(name, pattern, key, kinds):
    if pattern is not None:
        with pytest.raises(ValueError, match=pattern):
            read_structures(WILD / name)
    read = read_structures(WILD / name, DataOptions(key))
    assert {name for atoms in read.structures for name in atoms.calc.results} == {*kinds}
    assert bool(read.said) == bool(key)


@pytest.mark.skipif(not WILD.is_dir(), reason="the real files of ../shared/data/wild are not here")
def test_the_sign_of_a_real_virial():
    """CASTEP's virial of compressed graphite is positive, its stress negative along the layers."""
    read = read_structures(WILD / "carbon_force_virial.xyz", DataOptions({"force": "forces", "virial": "virial"}))
    first, volume = read.structures[0], read.structures[0].get_volume()
    assert first.calc.results["stress"][0] == pytest.approx(-17.67401361 / volume, rel=1e-9)
