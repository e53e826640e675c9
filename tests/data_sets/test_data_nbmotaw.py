"""NbMoTaW data: units, signs and order of the stresses against the data's own physics, the split, the files."""

import gzip
import itertools
from collections import Counter
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from strained_cells import energy_and_work

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.data import nbmotaw

METALS, ALLOYS = ("Mo", "W", "Nb", "Ta"), ("MoW", "NbTa")
STRUCTURES = {"Mo": 332, "W": 334, "Nb": 334, "Ta": 334, "MoW": 658, "NbTa": 658}


@pytest.fixture(scope="session")
def folder(local_copy):
    return local_copy("nbmotaw", "Mo_AIMD.json")


@pytest.fixture(scope="session")
def frames(folder):
    return {system: nbmotaw.NBMOTAW.load(system, folder=folder) for system in STRUCTURES}


@pytest.fixture(scope="session")
def written(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("nbmotaw")
    nbmotaw.NBMOTAW.prepare(out, folder=folder, systems=list(STRUCTURES))
    return {path.name: ase.io.read(path, ":") for path in out.iterdir()}


# --- units and signs ---------------------------------------------------------------------------


def strained(frames, mode):
    """Strain -> structure of one mode; the crystal itself is in the first only."""
    found = {}
    for atoms in frames:
        if atoms.info["group"] == "Elastic":
            of, _, strain = atoms.info["description"].split()[-1].partition("--")
            if int(of) == mode or float(strain) == 0:
                found[float(strain)] = atoms
    return found


@pytest.mark.parametrize("metal", METALS)
@pytest.mark.parametrize("mode", range(1, 7))
def test_stress_is_the_strain_derivative_of_the_dft_energy(frames, metal, mode):
    """Of each of the six series of 21 strained cells, each of which strains another component.

    The shears of Nb are soft, and their published stresses are up to 16 % of the range from the published energies.
    """
    series = strained(frames[metal], mode)
    assert len(series) == 21
    slopes, works = energy_and_work(series, np.round(np.arange(-0.08, 0.081, 0.02), 2))
    tolerance = 0.2 if metal == "Nb" and mode > 3 else 0.03
    np.testing.assert_allclose(works, slopes, atol=tolerance * np.ptp(slopes))


@pytest.mark.parametrize("metal", METALS)
@pytest.mark.parametrize(("mode", "voigt"), [(1, 0), (2, 1), (3, 2), (4, 5), (5, 3), (6, 4)])
def test_each_mode_strains_its_own_component(frames, metal, mode, voigt):
    """Its stress changes most, against the mean of the others, and has the sign of the strain."""
    series = strained(frames[metal], mode)
    change = series[0.02].get_stress() - series[-0.02].get_stress()
    assert np.argmax(np.abs(change)) == voigt
    assert change[voigt] > 0
    assert np.abs(np.delete(change[3:], voigt - 3 if voigt >= 3 else [])).max() < 1e-3 * change[voigt]


@pytest.mark.parametrize("system", STRUCTURES)
def test_no_other_order_of_the_shear_stresses_suits_the_structures(frames, system):
    """A pair potential fitted to the shear stresses explains them in this order, and not in any other.

    So the order is that of the strained cells also in the files that have none.
    """
    some = [atoms for atoms in frames[system] if atoms.info["group"] in ("AIMD", "SS")][::4]
    design = np.concatenate([pair_virials(atoms) for atoms in some])  # (3 n, parameters)
    labels = np.array([atoms.get_stress()[3:] for atoms in some])  # (n, 3)
    unexplained = {}
    for order in itertools.permutations(range(3)):
        shears = labels[:, order].ravel()
        rest = shears - design @ np.linalg.lstsq(design, shears, rcond=None)[0]
        unexplained[order] = rest @ rest / (shears @ shears)
    right = unexplained.pop((0, 1, 2))
    assert right < 0.3 and right < 0.5 * min(unexplained.values())


def pair_virials(atoms):
    """(3, parameters): yz, xz, xy of Σ r_a r_b b(r) / (r V) for each Gaussian b and each pair of elements."""
    centres, width = np.linspace(2.2, 5.2, 9), 0.25  # Å
    i, j, d, D = neighbor_list("ijdD", atoms, centres[-1] + width)
    pairs = np.sort(atoms.numbers[np.stack([i, j])], axis=0).T  # (n, 2)
    basis = np.exp(-(((d[:, None] - centres) / width) ** 2)) / d[:, None]
    kinds = list(itertools.combinations_with_replacement(sorted(set(atoms.numbers)), 2))
    virials = [
        np.concatenate([(D[:, a] * D[:, b]) @ (basis * (pairs == kind).all(axis=1)[:, None]) for kind in kinds])
        for a, b in ((1, 2), (0, 2), (0, 1))
    ]
    return np.array(virials) / atoms.get_volume()


@pytest.mark.parametrize("system", STRUCTURES)
def test_a_larger_cell_is_under_more_tension(frames, system):
    """Sign and unit where no cell is strained: the bulk modulus from volumes and stresses alone."""
    cold = [atoms for atoms in frames[system] if atoms.info["group"] == "SS" or atoms.info.get("temperature") == 300]
    volumes = [atoms.get_volume() / len(atoms) for atoms in cold]
    tensions = [atoms.get_stress()[:3].mean() for atoms in cold]
    slope = np.polyfit(np.log(volumes), tensions, 1)[0] / 0.006241509  # GPa
    measured = {"Mo": 260, "W": 310, "Nb": 170, "Ta": 195, "MoW": 285, "NbTa": 182}[system]
    assert abs(slope / measured - 1) < 0.3


@pytest.mark.parametrize("system", STRUCTURES)
def test_labels_are_sane(frames, system):
    assert len(frames[system]) == STRUCTURES[system]
    for atoms in frames[system]:
        assert set(atoms.symbols) == set(ase.Atoms(system).symbols)
        assert atoms.pbc.all()
        assert np.abs(atoms.get_forces().sum(axis=0)).max() < 0.15
        assert -13.1 < atoms.get_potential_energy() / len(atoms) < -9
        assert atoms.get_all_distances(mic=True)[~np.eye(len(atoms), dtype=bool)].min() > 1.8


def test_temperatures_are_those_of_the_published_series(frames):
    for metal, others in {"Mo": (1000, 3000), "Nb": (1000, 3000), "W": (2000, 4000), "Ta": (2000, 4000)}.items():
        series = Counter(nbmotaw.stratum(atoms)[1] for atoms in frames[metal] if atoms.info["group"] == "AIMD")
        tags = ["Md_90 300 K", "Md_110 300 K", *(f"Md {T} K" for T in (300, *others))]
        assert series == dict.fromkeys(tags, 40)


# --- families ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metal", METALS)
def test_elastic_families_are_rotated_copies(frames, metal):
    families = {}
    for atoms in frames[metal]:
        if atoms.info["group"] == "Elastic":
            families.setdefault(nbmotaw.family(atoms), []).append(atoms)
    assert Counter(len(members) for members in families.values()) == {1: 1, 3: 20, 6: 10}
    for members in families.values():
        energies = [atoms.get_potential_energy() for atoms in members]
        principal = [np.linalg.eigvalsh(atoms.get_stress(voigt=False)) for atoms in members]
        assert np.ptp(energies) < 1e-4
        np.testing.assert_allclose(principal, [principal[0]] * len(members), atol=1e-3)


@pytest.mark.parametrize("alloy", ALLOYS)
def test_alloy_families_are_one_configuration_before_and_after_relaxation(frames, alloy):
    families = {}
    for atoms in frames[alloy]:
        families.setdefault(nbmotaw.family(atoms), []).append(atoms)
    assert len(families) == 329
    for members in families.values():
        assert sorted(atoms.info["tag"] for atoms in members) == ["relax", "unrelax"]
        first, second = members
        assert (first.symbols == second.symbols).all()
        moved = first.get_scaled_positions(wrap=False) - second.get_scaled_positions(wrap=False)
        assert np.linalg.norm((moved - np.round(moved)) @ first.cell.array, axis=1).max() < 0.015


@pytest.mark.parametrize("alloy", ALLOYS)
def test_no_two_alloy_configurations_are_copies(frames, alloy):
    """Occupations of the 16 sites of a 2x2x2 bcc cell, in the order that is first of all its rotations and shifts."""
    found = [canonical(atoms) for atoms in frames[alloy] if atoms.info["tag"] == "unrelax"]
    assert len(found) == len(set(found)) == 329


def canonical(atoms):
    quarters = np.round(atoms.get_scaled_positions(wrap=False) * 4).astype(int)
    turned = [
        quarters[:, axes] * signs
        for axes in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    places = np.array([(turn - turn[k]) % 4 for turn in turned for k in range(len(turn))]) @ [16, 4, 1]  # (768, 16)
    occupied = np.zeros((len(places), 64), np.uint8)
    np.put_along_axis(occupied, places, atoms.numbers.astype(np.uint8)[None], axis=1)
    return min(row.tobytes() for row in occupied)


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", STRUCTURES)
def test_parts_cover_the_published_files_once(written, frames, system):
    def rows(some):
        return sorted((atoms.info["group"], atoms.info["nbmotaw_index"]) for atoms in some)

    parts = [written[f"{system}_{part}.xyz"] for part in ("train", "val", "test")]
    assert rows(sum(parts, [])) == rows(frames[system])
    assert len(set(rows(frames[system]))) == STRUCTURES[system]
    assert 0.68 < len(parts[0]) / STRUCTURES[system] < 0.72
    assert 0.19 < len(parts[2]) / STRUCTURES[system] < 0.22
    families = [{nbmotaw.family(atoms) for atoms in part} for part in parts]
    assert not (families[0] & families[1] or families[0] & families[2] or families[1] & families[2])
    strata = [{nbmotaw.stratum(atoms) for atoms in part} for part in parts]
    single = {("Elastic", "crystal"), *(("SS", alloy) for alloy in ("Mo15W", "MoW15", "Nb15Ta", "NbTa15"))}
    assert strata[1] == strata[2] == strata[0] - single


@pytest.mark.parametrize("system", STRUCTURES)
def test_small_sets_are_small_pictures(written, system):
    train = written[f"{system}_train.xyz"]
    total = Counter(atoms.info["group"] for atoms in train)
    for n in (5, 10, 25):
        small = written[f"{system}_train_{n}.xyz"]
        assert [atoms.info for atoms in small] == [atoms.info for atoms in train[:n]]
        count = Counter(atoms.info["group"] for atoms in small)
        assert all(abs(count[group] - n * total[group] / len(train)) < 1 for group in total)
        assert len({nbmotaw.family(atoms) for atoms in small}) == n  # no place is spent on a copy


def test_extxyz_keeps_the_labels(written, frames):
    originals = {(atoms.info["group"], atoms.info["nbmotaw_index"]): atoms for atoms in frames["W"]}
    for atoms in written["W_val.xyz"]:
        original = originals[atoms.info["group"], atoms.info["nbmotaw_index"]]
        assert atoms.info == original.info
        assert atoms.get_potential_energy() == original.get_potential_energy()
        np.testing.assert_allclose(atoms.get_forces(), original.get_forces(), atol=1e-8)
        np.testing.assert_allclose(atoms.get_stress(), original.get_stress(), atol=1e-12)


def test_the_command(folder, tmp_path, capsys):
    """From uncompressed files; another subset seed leaves the hold-out as it is."""
    plain = tmp_path / "plain"
    plain.mkdir()
    for group in ("AIMD", "Elastic", "Surface"):
        name = f"Ta_{group}.json"
        packed = folder / f"{name}.gz"
        content = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / name).read_bytes()
        (plain / name).write_bytes(content)
    command = f"data nbmotaw --from {plain} --elements Ta --sizes 10"
    assert main(f"{command} --out {tmp_path / 'first'}".split()) == 0
    assert "Ta_train_10.xyz: 10 structures" in capsys.readouterr().out
    assert main(f"{command} --out {tmp_path / 'other'} --subset-seed 1".split()) == 0
    first, other = ({path.name: path.read_bytes() for path in (tmp_path / d).iterdir()} for d in ("first", "other"))
    assert sorted(first) == ["Ta_test.xyz", "Ta_train.xyz", "Ta_train_10.xyz", "Ta_val.xyz"]
    assert [name for name in sorted(first) if first[name] != other[name]] == ["Ta_train.xyz", "Ta_train_10.xyz"]
    assert sorted(first["Ta_train.xyz"].splitlines()) == sorted(other["Ta_train.xyz"].splitlines())
    assert main(f"{command} --out {tmp_path / 'first'}".split()) == 2
    assert capsys.readouterr().err.endswith("Ta_train.xyz exists already; force (--force) replaces it\n")


# --- where the data comes from -----------------------------------------------------------------


def test_a_changed_file_is_refused_and_nothing_written(tmp_path):
    (tmp_path / "MoW_SS.json.gz").write_bytes(gzip.compress(b"[]"))
    with pytest.raises(ValueError, match="MoW_SS.json is not the published file: expected SHA-256 2a4a8d45"):
        nbmotaw.NBMOTAW.prepare(tmp_path / "out", folder=tmp_path, systems=["MoW"])
    assert not (tmp_path / "out").exists()


def test_the_commit_is_whole_and_every_file_pinned():
    assert len(nbmotaw.COMMIT) == 40 and nbmotaw.COMMIT in nbmotaw.FILES.base_url
    needed = {f"{metal}_{group}.json" for metal in METALS for group in ("AIMD", "Elastic", "Surface", "Test")}
    needed |= {f"{alloy}_{group}.json" for alloy in ALLOYS for group in ("SS", "Test")}
    assert set(nbmotaw.FILES.sha256) == needed
    assert all(len(digest) == 64 for digest in nbmotaw.FILES.sha256.values())


def test_unknown_names_list_the_choices(tmp_path):
    with pytest.raises(ValueError, match="'NbW' here; choose from Mo, W, Nb, Ta, MoW, NbTa"):
        nbmotaw.NBMOTAW.prepare(tmp_path / "out", systems=["NbW"])
    with pytest.raises(ValueError, match="'validation'; choose from training, test"):
        nbmotaw.NBMOTAW.load("Mo", "validation")


def test_published_entries_with_and_without_notes():
    """A metal's surfaces have a bare tag and no notes, its test structures are a group of their own."""

    def entry(**more):
        site = {"species": [{"element": "Mo", "occu": 1}], "xyz": [0, 0, 0]}
        structure = {"lattice": {"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]}, "sites": [site]}
        outputs = {"energy": -10.0, "forces": [[0, 0, 0]], "stress": [1, 1, 1, 0, 0, 0]}
        return {"structure": structure, "outputs": outputs, **more}

    served = {
        "Mo_AIMD.json": [entry(tags=["Md_90"], notes={"Md_90": "-300-7"})],
        "Mo_Elastic.json": [entry(tags=["Strain_new"], notes={"Strain_new": "5---0.0400"})],
        "Mo_Surface.json": [entry(tags="Surface")],
        "Mo_Test.json": [entry(tags=["test"], notes={"unrelax": "5"})],
    }

    class Served:
        def entries(self, name, folder):
            return served[name]

    molybdenum = replace(nbmotaw.NBMOTAW, files=Served())
    hot, strained, slab = molybdenum.load("Mo")
    assert nbmotaw.stratum(hot) == ("AIMD", "Md_90 300 K") and hot.info["temperature"] == 300
    assert nbmotaw.family(strained) == ("shear", 0.04) and nbmotaw.stratum(strained) == ("Elastic", "shear")
    assert slab.info == {"group": "Surface", "tag": "Surface", "description": "Surface", "nbmotaw_index": 0}
    (test,) = molybdenum.load("Mo", "test")
    assert test.info == {"group": "Test", "tag": "test", "description": "test 5", "nbmotaw_index": 0}
