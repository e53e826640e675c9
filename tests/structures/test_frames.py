"""Neighbour lists of small cells, where an atom sees several images of another and of itself."""

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.structures.frames import require_edges, with_neighbors

R_MAX = 5.4  # Å; a primitive diamond cell of germanium is 3.27 Å high
CUTOFFS = np.array([[R_MAX]])


@pytest.fixture
def primitive():
    """A primitive cell, strained so that its three heights differ, as NequIP data without edges."""
    arch.initialize_nequip()
    atoms = bulk("Ge", "diamond", a=5.66)
    atoms.set_cell(atoms.cell * [[1.02], [1.0], [0.97]], scale_atoms=True)
    return atoms, ChemicalSpeciesToAtomTypeMapper(["Ge"])(from_ase(atoms))


@pytest.mark.parametrize("backend", ["matscipy", "ase"])
def test_nequips_lists_count_every_periodic_image(primitive, backend):
    """Against a cell so large that each neighbour is there once: no warning is due."""
    atoms, bare = primitive
    data = NeighborListTransform(R_MAX, backend=backend)(dict(bare))
    big = neighbor_list("d", atoms * (5, 5, 5), R_MAX)
    assert data[AtomicDataDict.EDGE_INDEX_KEY].shape[1] == len(big) / 125 > 40
    require_edges([data], CUTOFFS)


def test_list_of_nearest_images_is_refused_with_numbers(primitive):
    atoms, bare = primitive
    data = with_neighbors(bare, R_MAX)
    nearest = (data[AtomicDataDict.EDGE_CELL_SHIFT_KEY].abs().sum(dim=1) <= 1).nonzero().reshape(-1)
    lacking = data[AtomicDataDict.EDGE_INDEX_KEY].shape[1] - len(nearest)
    data[AtomicDataDict.EDGE_INDEX_KEY] = data[AtomicDataDict.EDGE_INDEX_KEY][:, nearest]
    data[AtomicDataDict.EDGE_CELL_SHIFT_KEY] = data[AtomicDataDict.EDGE_CELL_SHIFT_KEY][nearest]
    heights = atoms.get_volume() / np.linalg.norm(np.cross(atoms.cell[[1, 2, 0]], atoms.cell[[2, 0, 1]]), axis=1)
    message = f"lack {lacking} edges .*r_max = 5.400 Å needs .*; half the smallest cell height is "
    with pytest.raises(ValueError, match=f"{message}{heights.min() / 2:.3f} Å"):
        require_edges([data], CUTOFFS)


def test_cell_height_is_not_spoken_of_without_periodicity(primitive):
    atoms, _ = primitive
    atoms.pbc = False
    data = ChemicalSpeciesToAtomTypeMapper(["Ge"])(from_ase(atoms))
    with pytest.raises(ValueError, match="lack 2 edges") as error:
        require_edges([data], CUTOFFS)
    assert "height" not in str(error.value)
