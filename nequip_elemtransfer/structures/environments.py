r"""Surroundings of atoms as rows of numbers: the model's own, and a descriptor that knows no model.

**The model's own** are the invariant features it reads the atomic energy from, the input of its readout. NequIP's GNN
models hold them on nodes. Allegro holds them on edges and adds edge energies, so its are summed over the edges of an
atom, :math:`x_i = \sum_j x_{ij}`, as the energies are; each vanishes at the cutoff. What differs in them is what the
energy can differ by, and nothing else.

**The descriptor** is Behler's atom-centred symmetry functions (J. Chem. Phys. 134, 074106, 2011) from DScribe, all
elements taken as one, so it sees geometry alone:

.. math::

    G^2_i = \sum_j e^{-\eta (r_{ij} - R_s)^2} f_c(r_{ij}), \qquad
    G^4_i = 2^{1-\zeta} \sum_{j \neq k} (1 + \lambda \cos\theta_{ijk})^\zeta
            e^{-\eta (r_{ij}^2 + r_{ik}^2 + r_{jk}^2)} f_c(r_{ij}) f_c(r_{ik}) f_c(r_{jk})

They are few, cheap, and each has a meaning one can name ("neighbours near 2.4 Å"), unlike the components of SOAP.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.geometry import complete_cell
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel

from nequip_elemtransfer.architecture.builders import evaluation_mode
from nequip_elemtransfer.architecture.nequip_names import DERIVATIVES, modules
from nequip_elemtransfer.optional_packages import extra
from nequip_elemtransfer.output.progress import progress_bar

# More tell a classifier nothing new, and these take seconds.
MAX_ENVIRONMENTS = 2000
MAX_DESCRIBED = 500

# Shells of G², with width (standard deviation) equal to their spacing.
_N_SHELLS = 12
_SHARPNESS = (1, 4, 16)  # ζ of G⁴
_NEAR, _FAR = 4.0, 0.5  # η of G⁴ times the cutoff squared: first neighbours, and all
_ANGULAR = [(reach, zeta, sign) for reach in (_NEAR, _FAR) for zeta in _SHARPNESS for sign in (1, -1)]

_ENERGIES = {AtomicDataDict.PER_ATOM_ENERGY_KEY, AtomicDataDict.EDGE_ENERGY_KEY}


@dataclass(frozen=True, eq=False)
class Environments:
    """Surroundings of chosen atoms of a list of structures.

    Args:
        kind: ``model`` or ``ACSF``
        names: of the features
        features: shape (n_environments, n_features)
        structure: index of the structure in the list, shape (n_environments,)
        atom: index of the atom in its structure, shape (n_environments,)
        n_structures: length of the list, chosen from or not
    """

    kind: str
    names: tuple[str, ...]
    features: np.ndarray
    structure: np.ndarray
    atom: np.ndarray
    n_structures: int

    def __len__(self) -> int:
        return len(self.features)


def select_environments(n_atoms: Sequence[int], limit: int = MAX_ENVIRONMENTS) -> list[np.ndarray]:
    """Atoms of each structure, as evenly over the structures as their sizes allow and evenly spaced within each.

    Of more than ``MAX_DESCRIBED`` structures, evenly spaced ones. The same numbers give the same choice.

    Args:
        n_atoms: of each structure
        limit: of atoms in all

    Returns:
        indices of atoms for each structure, empty for one that is left out
    """
    sizes = np.asarray(n_atoms, dtype=int)
    quota = np.zeros(len(sizes), dtype=int)
    kept = _evenly(len(sizes), min(MAX_DESCRIBED, limit))
    left = limit
    # the smallest first: what they cannot use is shared by the rest
    for position, i in enumerate(sorted(kept, key=lambda i: sizes[i])):
        quota[i] = min(sizes[i], left // (len(kept) - position))
        left -= quota[i]
    return [_evenly(size, number) for size, number in zip(sizes, quota)]


def model_features(model: GraphModel, frames: Sequence[AtomicDataDict.Type], task: str = "") -> np.ndarray | None:
    """The invariant features of every atom that a model reads its atomic energies from.

    Args:
        model: any that NequIP's builders make
        frames: with the model's types, and neighbour lists of its cutoff
        task: what a progress bar calls it; no bar if empty

    Returns:
        shape (n_atoms, n_features), or None if the model has no such features or they cannot be told
    """
    readout = _readout(model)
    if readout is None:
        return None
    invariant = _invariant_columns(readout)
    taken: list[torch.Tensor] = []

    def take(_: torch.nn.Module, arguments: tuple[AtomicDataDict.Type]) -> None:
        (data,) = arguments
        features = data[readout.field].detach()[:, invariant]
        if readout.out_field == AtomicDataDict.EDGE_ENERGY_KEY:  # (n_edges, n) -> (n_atoms, n)
            center = data[AtomicDataDict.EDGE_INDEX_KEY][0]
            summed = features.new_zeros(AtomicDataDict.num_nodes(data), features.shape[1])
            features = summed.index_add(0, center, features)
        taken.append(features.double().cpu())

    hook = readout.register_forward_pre_hook(take)
    try:
        with evaluation_mode(model), _energies_only(model), torch.no_grad():
            for frame in progress_bar(frames, desc=task, unit="frame", disable=not task, leave=False):
                model(frame.copy())
    finally:
        hook.remove()
    return torch.cat(taken).numpy() if taken else np.zeros((0, len(invariant)))


def model_environments(
    model: GraphModel, frames: Sequence[AtomicDataDict.Type], limit: int = MAX_ENVIRONMENTS, task: str = ""
) -> Environments | None:
    """:func:`model_features` of at most ``limit`` atoms, chosen by :func:`select_environments`."""
    chosen = select_environments([AtomicDataDict.num_nodes(f) for f in frames], limit)
    used = [i for i, atoms in enumerate(chosen) if len(atoms)]
    features = model_features(model, [frames[i] for i in used], task)
    if features is None:
        return None
    first = np.cumsum([0, *(AtomicDataDict.num_nodes(frames[i]) for i in used)])
    rows = [start + chosen[i] for start, i in zip(first, used)]
    names = tuple(f"model feature {i}" for i in range(features.shape[1]))
    return _environments("model", names, features[np.concatenate([*rows, np.zeros(0, dtype=int)])], chosen)


def descriptor_names(cutoff: float) -> tuple[str, ...]:
    """What each column of :func:`descriptor_features` says, lengths in Å of the source."""
    shells = [f"neighbours near {r:.1f} Å" for r in _shells(cutoff)]
    angles = [
        f"angles near {0 if sign > 0 else 180}° (ζ = {zeta}, {'first neighbours' if reach == _NEAR else 'all'})"
        for reach, zeta, sign in _ANGULAR
    ]
    return ("neighbours", *shells, *angles)


def descriptor_features(
    structures: Sequence[Atoms],
    cutoff: float,
    length_scale: float = 1.0,
    atoms: Sequence[np.ndarray] | None = None,
    task: str = "",
) -> np.ndarray:
    """Symmetry functions of atoms, blind to elements.

    Args:
        structures: periodic in any of three directions or none, of any size
        cutoff: in Å, at the source's lengths
        length_scale: λ; lengths are divided by it first, so that target structures compare with the source's
        atoms: indices of the atoms wanted of each structure; None for all
        task: what a progress bar calls it; no bar if empty

    Returns:
        shape (n_atoms wanted, n_features)

    Raises:
        ModuleNotFoundError: without DScribe
    """
    with extra("plan", "a descriptor"):
        from dscribe.descriptors import ACSF
    width = _shells(cutoff)[1] - _shells(cutoff)[0]
    parameters = {
        "r_cut": cutoff,
        "species": ["H"],
        "g2_params": [(1 / (2 * width**2), shell) for shell in _shells(cutoff)],
        "g4_params": [(reach / cutoff**2, zeta, sign) for reach, zeta, sign in _ANGULAR],
    }
    descriptors = {periodic: ACSF(periodic=periodic, **parameters) for periodic in (False, True)}
    wanted = [np.arange(len(s)) for s in structures] if atoms is None else atoms
    rows = [np.zeros((0, len(descriptor_names(cutoff))))]
    bar = progress_bar(structures, desc=task, unit="structure", disable=not task, leave=False)
    for structure, centers in zip(bar, wanted):
        if len(centers):
            geometry = _geometry(structure, length_scale, cutoff)
            rows.append(descriptors[bool(geometry.pbc.any())].create(geometry, centers=centers.tolist()))
    return np.concatenate(rows)


def descriptor_environments(
    structures: Sequence[Atoms],
    cutoff: float,
    length_scale: float = 1.0,
    limit: int = MAX_ENVIRONMENTS,
    task: str = "",
) -> Environments:
    """:func:`descriptor_features` of at most ``limit`` atoms, chosen by :func:`select_environments`."""
    chosen = select_environments([len(s) for s in structures], limit)
    features = descriptor_features(structures, cutoff, length_scale, chosen, task)
    return _environments("ACSF", descriptor_names(cutoff), features, chosen)


def _environments(
    kind: str, names: tuple[str, ...], features: np.ndarray, chosen: Sequence[np.ndarray]
) -> Environments:
    structure = np.repeat(np.arange(len(chosen)), [len(atoms) for atoms in chosen])
    atom = np.concatenate([*chosen, np.zeros(0, dtype=int)])
    return Environments(kind, names, features, structure, atom, len(chosen))


def _evenly(n: int, number: int) -> np.ndarray:
    """At most ``number`` of ``range(n)``, the same distance apart."""
    number = min(n, number)
    return ((np.arange(number) + 0.5) * n / max(number, 1)).astype(int)


def _readout(model: GraphModel) -> torch.nn.Module | None:
    """The one module that turns features into energies.

    Found by the fields it reads and writes, which NequIP's modules name; classes from a package are not the
    installed ones.
    """
    found = [
        module
        for module in model.modules()
        if getattr(module, "out_field", None) in _ENERGIES
        and getattr(module, "field", None) not in {None, *_ENERGIES}
        and _invariant_columns(module)
    ]
    return found[0] if len(found) == 1 else None


def _invariant_columns(readout: torch.nn.Module) -> list[int]:
    """Columns of a module's input that no rotation or reflection changes."""
    irreps = readout.irreps_in.get(readout.field)
    if irreps is None:
        return []
    pairs = zip(irreps, irreps.slices())
    return [column for (_, ir), part in pairs if ir.is_scalar() for column in range(part.start, part.stop)]


@contextmanager
def _energies_only(model: GraphModel) -> Iterator[None]:
    """Leave out the derivatives, which are most of the work."""
    derivatives = [module for module in modules(model, DERIVATIVES) if module.do_derivatives]
    try:
        for module in derivatives:
            module.do_derivatives = False
        yield
    finally:
        for module in derivatives:
            module.do_derivatives = True


def _shells(cutoff: float) -> np.ndarray:
    """Radii in Å of the shells of G², the last one spacing inside the cutoff."""
    return cutoff * np.arange(1, _N_SHELLS + 1) / (_N_SHELLS + 1)


def _geometry(structure: Atoms, length_scale: float, cutoff: float) -> Atoms:
    """The structure as hydrogen at 1/λ of its lengths, periodic only where an image may lie within the cutoff in Å.

    Images across a wide vacuum would make DScribe search thousands of empty bins.
    """
    cell = np.asarray(complete_cell(structure.cell) if structure.pbc.any() else structure.cell) / length_scale
    positions, pbc = structure.positions / length_scale, np.array(structure.pbc)
    if pbc.any():
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)  # between opposite faces
        pbc &= (1 - np.ptp(positions @ np.linalg.inv(cell), axis=0)) * heights < cutoff
    return Atoms(np.ones(len(structure), dtype=int), positions, cell=cell, pbc=pbc)
