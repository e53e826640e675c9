"""mlearn data: units and signs against the data's own physics, the split, the files."""

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strained_cells import energy_and_work

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.data import mlearn
from nequip_elemtransfer.data.split import Division, interleave, representative_order, split, write_files

ELEMENTS = ("Si", "Ge")


@pytest.fixture(scope="session")
def folder(local_copy) -> Path:
    return local_copy("mlearn", "Si/training.json")


@pytest.fixture(scope="session")
def frames(folder):
    return {element: mlearn.MLEARN.load(element, folder=folder) for element in ELEMENTS}


@pytest.fixture(scope="session")
def written(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("mlearn")
    mlearn.MLEARN.prepare(out, folder=folder)
    return {path.name: ase.io.read(path, ":") for path in out.iterdir()}


# --- units and signs ---------------------------------------------------------------------------


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("mode", range(6))
def test_stress_is_the_strain_derivative_of_the_dft_energy(frames, element, mode):
    """Each of the six series of strained cells strains another component."""
    series = {0.0: next(a for a in frames[element] if a.info["description"].startswith("Ground"))}
    for atoms in frames[element]:
        description = atoms.info["description"]
        if f"mode {mode}, strain" in description:
            series[float(description.split()[-1])] = atoms
    slopes, works = energy_and_work(series, (-0.08, -0.04, -0.02, 0.0, 0.02, 0.04, 0.08))
    assert np.ptp(slopes) > 50  # eV per unit strain: the test sees a strong signal
    np.testing.assert_allclose(works, slopes, atol=0.03 * np.ptp(slopes))


@pytest.mark.parametrize("element", ELEMENTS)
def test_compressed_cells_have_negative_stress(frames, element):
    for atoms in frames[element]:
        if "mode 0, strain -0.1" in atoms.info["description"]:
            assert (atoms.get_stress()[:3] < -0.04).all()


@pytest.mark.parametrize("element", ELEMENTS)
def test_labels_are_sane(frames, element):
    for atoms in frames[element]:
        assert set(atoms.symbols) == {element}
        assert atoms.pbc.all()
        assert np.abs(atoms.get_forces().sum(axis=0)).max() < 0.1
        assert -6 < atoms.get_potential_energy() / len(atoms) < -3


def test_phase_of_a_vacancy_is_read_from_its_energy(frames):
    """The two phases are far apart, and the temperature of the description does not tell them."""
    for element, all_frames in frames.items():
        energy = {"crystal": [], "melt": []}
        for atoms in all_frames:
            if atoms.info["group"] == "Vacancy":
                energy[atoms.info["phase"]].append(atoms.get_potential_energy() / len(atoms))
        assert min(energy["melt"]) - max(energy["crystal"]) > 0.3, element
    hot = [a for a in frames["Si"] if a.info["description"].endswith("Vacancy AIMD NVT simulation at 3374 K")]
    assert {a.info["phase"] for a in hot} == {"crystal"}


@pytest.mark.parametrize("element", ELEMENTS)
def test_families_are_rotated_copies(frames, element):
    """Members of a family have one energy and one set of force norms, to DFT's own scatter."""
    families = {}
    for atoms in frames[element]:
        families.setdefault(mlearn.family(atoms), []).append(atoms)
    sizes = Counter(len(f) for f in families.values() if f[0].info["group"] == "Elastic")
    assert sizes == {1: 1, 3: 10, 6: 4}  # ground state; axial and shear 0.06; other shears
    for members in families.values():
        reference = members[0]
        norms = np.sort(np.linalg.norm(reference.get_forces(), axis=1))
        for atoms in members[1:]:
            assert atoms.get_potential_energy() == pytest.approx(reference.get_potential_energy(), abs=1e-4)
            other = np.sort(np.linalg.norm(atoms.get_forces(), axis=1))
            np.testing.assert_allclose(other, norms, atol=1e-3)


# --- split -------------------------------------------------------------------------------------

labels = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 9)), max_size=80)


@settings(deadline=None)
@given(labels, st.integers(0, 5))
def test_split_is_a_stratified_partition_that_keeps_families(rows, seed):
    strata = [row[:2] for row in rows]
    families = [row[2] if row[2] < 5 else (i, 0) for i, row in enumerate(rows)]
    parts = split(strata, families, seed=seed)
    assert sorted(sum(parts.values(), [])) == list(range(len(rows)))
    part_of = {i: part for part, indices in parts.items() for i in indices}
    for stratum in set(strata):
        members = [i for i in range(len(rows)) if strata[i] == stratum]
        homes = {}
        for i in members:
            homes.setdefault(families[i], set()).add(part_of[i])
        assert all(len(home) == 1 for home in homes.values())
        if len(homes) >= 3:
            assert {part_of[i] for i in members} == {"train", "val", "test"}
    assert split(strata, families, seed=seed) == parts


def test_split_has_the_asked_shares():
    parts = split([("a", "b")] * 100, val_fraction=0.1, test_fraction=0.2)
    assert {part: len(indices) for part, indices in parts.items()} == {
        "train": 70,
        "val": 10,
        "test": 20,
    }
    with pytest.raises(ValueError, match="less than 1"):
        split([("a",)], val_fraction=0.5, test_fraction=0.5)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_every_prefix_is_a_webster_apportionment(lengths):
    """Of the places given out, none would be better placed: max (c-½)/L <= min (c+½)/L."""
    merged = interleave([[(j, k) for k in range(n)] for j, n in enumerate(lengths)])
    assert sorted(merged) == [(j, k) for j, n in enumerate(lengths) for k in range(n)]
    counts = np.zeros(len(lengths))
    for j, k in merged:
        assert counts[j] == k  # order within a list is kept
        counts[j] += 1
        assert ((counts - 0.5) / lengths).max() <= ((counts + 0.5) / lengths).min() + 1e-12


def test_short_prefixes_take_one_member_of_a_family_first():
    families = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    order = representative_order(range(9), [("a",)] * 9, families, seed=1)
    assert {families[i] for i in order[:3]} == {families[i] for i in order[3:6]} == {0, 1, 2}


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("element", ELEMENTS)
def test_parts_cover_the_published_file_once(written, frames, element):
    rows = [
        atoms.info["mlearn_index"] for part in ("train", "val", "test") for atoms in written[f"{element}_{part}.xyz"]
    ]
    assert sorted(rows) == list(range(len(frames[element])))


@pytest.mark.parametrize("element", ELEMENTS)
def test_every_group_is_in_every_part(written, element):
    strata = [{mlearn.stratum(a) for a in written[f"{element}_{p}.xyz"]} for p in ("val", "test")]
    train = {mlearn.stratum(atoms) for atoms in written[f"{element}_train.xyz"]}
    assert strata[0] == strata[1] == train - {("Elastic", "Ground state crystal")}


@pytest.mark.parametrize("element", ELEMENTS)
def test_no_copy_of_a_test_structure_is_trained_on(written, element):
    train = {mlearn.family(a) for a in written[f"{element}_train.xyz"]}
    for part in ("val", "test"):
        assert not train & {mlearn.family(a) for a in written[f"{element}_{part}.xyz"]}


@pytest.mark.parametrize("element", ELEMENTS)
def test_every_prefix_of_the_training_file_has_its_proportions(written, element):
    groups = [atoms.info["group"] for atoms in written[f"{element}_train.xyz"]]
    total = Counter(groups)
    for n in range(1, len(groups) + 1):
        count = Counter(groups[:n])
        for group in total:
            assert abs(count[group] - n * total[group] / len(groups)) < 1
    assert Counter(groups[:10]) == {"AIMD-NVT": 4, "Vacancy": 3, "Elastic": 2, "Surface": 1}


@pytest.mark.parametrize("element", ELEMENTS)
def test_small_sets_are_prefixes(written, element):
    train = [atoms.info["mlearn_index"] for atoms in written[f"{element}_train.xyz"]]
    for n in (5, 10, 25):
        small = [atoms.info["mlearn_index"] for atoms in written[f"{element}_train_{n}.xyz"]]
        assert small == train[:n]


def test_extxyz_keeps_the_labels(written, frames):
    for atoms in written["Ge_val.xyz"]:
        original = frames["Ge"][atoms.info["mlearn_index"]]
        assert atoms.get_potential_energy() == original.get_potential_energy()
        np.testing.assert_allclose(atoms.positions, original.positions, atol=1e-8)
        np.testing.assert_allclose(atoms.get_forces(), original.get_forces(), atol=1e-8)
        np.testing.assert_allclose(atoms.get_stress(), original.get_stress(), atol=1e-12)


def test_nequip_reads_energy_forces_and_stress(tmp_path, frames):
    dataset = pytest.importorskip("nequip.data.dataset")
    atoms = next(a for a in frames["Ge"] if "mode 3, strain 0.1" in a.info["description"])
    write_files(tmp_path, {"one.xyz": [atoms]})
    data = dataset.ASEDataset(str(tmp_path / "one.xyz"))[0]
    assert data["total_energy"].item() == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(data["forces"].numpy(), atoms.get_forces(), atol=1e-7)
    np.testing.assert_allclose(data["stress"].numpy().reshape(3, 3), atoms.get_stress(voigt=False), atol=1e-7)


def test_seeds(folder, tmp_path):
    def run(name, **seeds):
        mlearn.MLEARN.prepare(tmp_path / name, folder=folder, systems=["Ge"], division=Division(**seeds))
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    first, again = run("first"), run("again")
    assert first == again
    subset = run("subset", subset_seed=1)
    assert subset["Ge_test.xyz"] == first["Ge_test.xyz"]
    assert subset["Ge_val.xyz"] == first["Ge_val.xyz"]
    assert subset["Ge_train_10.xyz"] != first["Ge_train_10.xyz"]
    assert len(subset["Ge_train.xyz"]) == len(first["Ge_train.xyz"])  # reordered, that is all
    assert sorted(subset["Ge_train.xyz"].splitlines()) == sorted(first["Ge_train.xyz"].splitlines())
    assert run("seed", seed=1)["Ge_test.xyz"] != first["Ge_test.xyz"]


def test_existing_files_are_kept(folder, tmp_path):
    (tmp_path / "Ge_val.xyz").write_text("mine")
    with pytest.raises(FileExistsError, match="Ge_val.xyz exists already.*--force"):
        mlearn.MLEARN.prepare(tmp_path, folder=folder)
    assert [path.name for path in tmp_path.iterdir()] == ["Ge_val.xyz"]
    mlearn.MLEARN.prepare(tmp_path, folder=folder, systems=["Ge"], force=True)
    assert len(ase.io.read(tmp_path / "Ge_val.xyz", ":")) == 28


def test_the_command(folder, tmp_path, capsys):
    command = f"data mlearn --out {tmp_path} --from {folder} --elements Ge --sizes 5 10".split()
    assert main(command) == 0
    assert "Ge_train_10.xyz: 10 structures" in capsys.readouterr().out
    assert main(command) == 2
    _, err = capsys.readouterr()
    assert err.endswith("Ge_train.xyz exists already; force (--force) replaces it\n")
    assert main([*command, "--force", "--subset-seed", "3"]) == 0


def test_an_interrupted_write_leaves_nothing(frames, tmp_path, monkeypatch):
    real, calls = ase.io.write, []

    def disk_full_at_the_second(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise OSError("disk full")
        real(*args, **kwargs)

    monkeypatch.setattr(ase.io, "write", disk_full_at_the_second)
    with pytest.raises(OSError, match="disk full"):
        write_files(tmp_path, {"a.xyz": frames["Si"][:1], "b.xyz": frames["Si"][:1]})
    assert list(tmp_path.iterdir()) == []


# --- where the data comes from -----------------------------------------------------------------


def test_a_changed_file_is_refused(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    changed = copy / "Ge" / "training.json"
    changed.unlink()
    changed.write_bytes((folder / "Ge" / "training.json").read_bytes() + b"\n")
    with pytest.raises(ValueError, match="expected SHA-256 43dee020.*, found [0-9a-f]{64}"):
        mlearn.MLEARN.prepare(tmp_path / "out", folder=copy)
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="Si/training.json does not exist"):
        mlearn.MLEARN.prepare(tmp_path / "out", folder=tmp_path)
    assert not (tmp_path / "out").exists()


def test_without_network_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(
        mlearn, "MLEARN", replace(mlearn.MLEARN, files=replace(mlearn.FILES, base_url="http://127.0.0.1:9"))
    )
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9/Si/training.json .*refused.*--from DIR"):
        mlearn.MLEARN.prepare(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_download_is_checked_and_the_published_test_half_kept_apart(tmp_path):
    """Small files behind the URL, refused until their own hash is the pinned one."""
    content = json.dumps([_entry(-0.06), _entry(0.06), *[_entry(k) for k in range(1, 9)]]).encode()
    served = tmp_path / "served"
    for half in ("training", "test"):
        (served / "Ge").mkdir(parents=True, exist_ok=True)
        (served / "Ge" / f"{half}.json").write_bytes(content)
    here = replace(mlearn.FILES, base_url=served.as_uri())
    with pytest.raises(ValueError, match="Ge/training.json is not the published file"):
        replace(mlearn.MLEARN, files=here).load("Ge")
    digest = hashlib.sha256(content).hexdigest()
    pinned = {"Ge/training.json": digest, "Ge/test.json": digest}
    own = replace(mlearn.MLEARN, files=replace(here, sha256=pinned))
    written = own.prepare(tmp_path / "out", systems=["Ge"], division=Division(sizes=[2]))
    assert len(written["Ge_published_test.xyz"]) == 10
    assert (tmp_path / "out" / "Ge_published_test.xyz").exists()


def _entry(strain: float) -> dict:
    return {
        "structure": {
            "lattice": {"matrix": [[5.7, 0, 0], [0, 5.7, 0], [0, 0, 5.7]]},
            "sites": [{"species": [{"element": "Ge", "occu": 1}], "xyz": [0, 0, 0]}],
        },
        "outputs": {"energy": -4.5, "forces": [[0, 0, 0]], "virial_stress": [1, 1, 1, 0, 0, 0]},
        "group": "Elastic",
        "element": "Ge",
        "description": f"Ge 2x2x2 cell, mode 3, strain {strain}",
    }


def test_the_commit_is_whole_and_every_file_pinned():
    assert len(mlearn.COMMIT) == 40
    assert mlearn.COMMIT in mlearn.FILES.base_url
    assert set(mlearn.FILES.sha256) == {f"{el}/{h}.json" for el in ELEMENTS for h in ("training", "test")}


def test_unknown_names_list_the_choices(tmp_path):
    with pytest.raises(ValueError, match="'Cu'.*Si, Ge"):
        mlearn.MLEARN.prepare(tmp_path / "out", systems=["Cu"])
    with pytest.raises(ValueError, match="no half .validation.; choose from training, test"):
        mlearn.MLEARN.load("Si", "validation")
