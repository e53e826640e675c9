"""Snapshots of small molecules, with energies, forces and atomic energies by GFN2-xTB.

C. Bannwarth, S. Ehlert and S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019), as tblite has it.

A geometry by RDKit is relaxed, and Langevin dynamics begin from it, one trajectory for each molecule and temperature.
Molecules are neutral, have closed shells and no cell, so there is no stress. Some molecules of each group are put aside
whole: their snapshots, in a file of their own, test what a model makes of molecules that it has not seen. They come as
SMILES, in the lists that ship with the package or in a user's own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, covalent_radii
from ase.md.langevinbaoab import LangevinBAOAB
from ase.optimize import BFGS

from nequip_elemtransfer.data.sampled import even_shares
from nequip_elemtransfer.data.split import DEFAULT_DIVISION, Division, Stratum, representative_order, split, write_files
from nequip_elemtransfer.optional_packages import extra, require_xtb
from nequip_elemtransfer.output.atomic import require_folder
from nequip_elemtransfer.output.progress import progress_bar

TEMPERATURES = (300.0, 600.0)  # K
SEEN, UNSEEN = "seen", "unseen"
UNSEEN_FRACTION = 0.2  # of the molecules of each group

# The step is 1/11 of the period of a C-H stretch; BAOAB places harmonic atoms without error at any stable step.
_TIME_STEP = 1.0  # fs
_MEMORY = 50.0  # fs, after which velocities are forgotten
_EQUILIBRATION_STEPS = 150
_STEPS_BETWEEN_FRAMES = 40
_RELAXED = 0.005  # eV/Å
_RELAXATION_STEPS = 500
# of the cycles to self-consistency, in multiples of tblite's own thresholds: forces to 1e-5 eV/Å
_ACCURACY = 0.1
_MAX_CYCLES = 250

# In a SMILES of a list, the element that sets of different elements differ in.
PLACEHOLDER = "{X}"
HYDROCARBONS = "CH"  # the set of the molecules without such an element
SHIPPED = {
    "Si": "tetrel",
    "Ge": "tetrel",
    "S": "chalcogen",
    "Se": "chalcogen",
    "Cl": "halogen",
    "Br": "halogen",
    HYDROCARBONS: "hydrocarbon",
}
_LAST_ELEMENT = 86  # radon, the last one GFN2-xTB has parameters for
# A bond has broken when it is longer than this multiple of the sum of the covalent radii. At 1000 K a C-H bond reaches
# 1.3.
_BROKEN = 1.5
_WHO = "`nequip-elemtransfer data xtb`"


@dataclass(frozen=True)
class Molecule:
    """One molecule of a list.

    Args:
        smiles: with the element in place of the placeholder
        name: one word
        group: its functional group or skeleton, one word
        symbols: of all atoms, hydrogen included
        bonds: pairs of atoms, shape (n_bonds, 2)
    """

    smiles: str
    name: str
    group: str
    symbols: tuple[str, ...]
    bonds: np.ndarray

    def geometry(self, seed: int) -> Atoms:
        """A guess of its geometry by RDKit's distance geometry (ETKDG), the same for the same seed.

        Raises:
            ValueError: RDKit finds none
        """
        with extra("xtb", _WHO):
            from rdkit import Chem
            from rdkit.Chem import rdDistGeom
        molecule = Chem.AddHs(Chem.MolFromSmiles(self.smiles))
        if rdDistGeom.EmbedMolecule(molecule, randomSeed=seed) != 0:
            raise ValueError(
                f"RDKit finds no geometry of {self.title}: write the SMILES in another way, or leave it out of the "
                "list."
            )
        return Atoms(self.symbols, molecule.GetConformer().GetPositions())

    def broken_bond(self, positions: np.ndarray, radii: np.ndarray) -> str | None:
        """The first bond that is far longer than bonds are, as ``C0-H4``; None if there is none.

        Args:
            positions: in Å, shape (n_atoms, 3)
            radii: covalent radius of each atom in Å, shape (n_atoms,)
        """
        i, j = self.bonds.T
        lengths = np.linalg.norm(positions[i] - positions[j], axis=1)
        broken = np.flatnonzero(lengths > _BROKEN * (radii[i] + radii[j]))
        if not len(broken):
            return None
        return "-".join(f"{self.symbols[atom]}{atom}" for atom in self.bonds[broken[0]])

    @property
    def title(self) -> str:
        """Name and SMILES, for messages."""
        return f"{self.name} ({self.smiles})"


def molecules_of(system: str, path: Path | None = None) -> list[Molecule]:
    """The molecules of a set.

    Args:
        system: the element that stands for ``{X}`` in the list, or ``CH`` for the shipped hydrocarbons
        path: list of the user's, a line ``SMILES NAME GROUP`` for each molecule, ``#`` begins a comment; None takes the
            list that ships with the package

    Raises:
        FileNotFoundError: there is no such list
        ValueError: an element or a line that cannot be used, with the reason
    """
    if path is None:
        if system not in SHIPPED:
            raise ValueError(
                f"no molecules of {system!r} ship with this package; choose from {', '.join(SHIPPED)}, or give a list "
                "of your own (--smiles)."
            )
        where = f"{SHIPPED[system]}.smi"
        text = resources.files(__package__).joinpath("smiles", where).read_text(encoding="utf-8")
    else:
        if not 0 < atomic_numbers.get(system, 0) <= _LAST_ELEMENT:
            raise ValueError(
                f"{system!r} cannot stand for {PLACEHOLDER} in {path}: give the symbol of an element up to radon, for "
                "which GFN2-xTB has parameters."
            )
        if not path.is_file():
            raise FileNotFoundError(f"the list of molecules {str(path)!r} does not exist.")
        where, text = str(path), path.read_text(encoding="utf-8")
    return _parsed(text, where, system)


def _parsed(text: str, where: str, element: str) -> list[Molecule]:
    found: dict[str, Molecule] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        # in a SMILES `#` is a triple bond, so only a line of its own is a comment
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = line.split()
        place = f"line {number} of {where}"
        if len(fields) != 3:
            raise ValueError(
                f"{place} is {line.strip()!r}: write `SMILES NAME GROUP`, as in `CC[{PLACEHOLDER}H3] ethyl alkyl`."
            )
        smiles, name, group = fields
        if name in found:
            raise ValueError(f"{place} names a second molecule {name!r}: give each a name of its own.")
        found[name] = _molecule(smiles.replace(PLACEHOLDER, element), name, group, place)
    if not found:
        raise ValueError(f"{where} holds no molecule: write `SMILES NAME GROUP` in a line for each.")
    return list(found.values())


def _molecule(smiles: str, name: str, group: str, place: str) -> Molecule:
    with extra("xtb", _WHO):
        from rdkit import Chem, rdBase
    with rdBase.BlockLogs():  # RDKit writes its own lines on what it refuses
        read = Chem.MolFromSmiles(smiles)
    if read is None:
        raise ValueError(
            f"{place}: RDKit refuses the SMILES {smiles!r}: mend it; brackets hold the hydrogens, as in C[GeH3]."
        )
    molecule = Chem.AddHs(read)
    atoms = list(molecule.GetAtoms())
    reason = _unusable(atoms, len(Chem.GetMolFrags(molecule)))
    if reason:
        raise ValueError(f"{place}: {smiles!r} {reason}")
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    return Molecule(smiles, name, group, tuple(atom.GetSymbol() for atom in atoms), np.array(bonds))


def _unusable(atoms: Sequence, fragments: int) -> str | None:
    """Why a molecule has no closed-shell, neutral ground state here that a potential of several atoms describes."""
    heavy = [atom.GetSymbol() for atom in atoms if not 0 < atom.GetAtomicNum() <= _LAST_ELEMENT]
    if heavy:
        return f"holds {heavy[0]!r}: GFN2-xTB has parameters for the elements up to radon."
    if charge := sum(atom.GetFormalCharge() for atom in atoms):
        return f"has the charge {charge:+d}: only neutral molecules are sampled, add or remove hydrogen."
    if unpaired := sum(atom.GetNumRadicalElectrons() for atom in atoms):
        return (
            f"is a radical, with {unpaired} unpaired electron{'s' if unpaired > 1 else ''}: only closed shells are "
            "sampled; add the hydrogens in the brackets, as in [GeH3]."
        )
    if len(atoms) == 1:
        return "is a single atom, which has no bond to learn from: leave it out."
    if fragments > 1:
        return "is several molecules: write each in a line of its own."
    return None


@dataclass(frozen=True)
class MoleculeTrajectory:
    """Snapshots of one molecule at one temperature in K."""

    molecule: Molecule
    temperature: float
    frames: int


def prepare(
    out: Path,
    *,
    systems: Sequence[str] = ("Si", "Ge"),
    smiles: Path | None = None,
    frames: int = 320,
    temperatures: Sequence[float] = TEMPERATURES,
    division: Division = DEFAULT_DIVISION,
    force: bool = False,
) -> dict[str, list[Atoms]]:
    """Generate the structures and write the extxyz files of :mod:`.split` into ``out``.

    Beside these, ``{system}_unseen.xyz`` holds the snapshots of the molecules that were put aside, and
    ``{system}_minima.xyz`` each molecule at its energy minimum.

    Args:
        out: folder for the extxyz files, made if need be.
        systems: the elements of the sets, and ``CH`` for hydrocarbons, see :func:`molecules_of`.
        smiles: a list of the user's.
        frames: snapshots of each set, shared evenly among molecules and temperatures.
        temperatures: in K.
        division: of the other molecules' snapshots into parts; its seed fixes the structures and the molecules that
            are put aside, too; sets of lists with the same groups put the same lines aside.
        force: replace files that exist.

    Returns:
        frames by file name, as written.

    Raises:
        ModuleNotFoundError: the extra ``xtb`` is not installed.
        ValueError: a molecule, a number or a set that cannot be used, or xTB does not converge.
        FileNotFoundError: there is no such list.
        NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`.
    """
    require_xtb()
    plans = {system: _plan(system, smiles, frames, temperatures) for system in systems}
    for system, plan in plans.items():
        names = [*division.names(system), *(f"{system}_{part}.xyz" for part in (UNSEEN, "minima"))]
        require_folder(out, names, force=force)
        aside = unseen_molecules([trajectory.molecule for trajectory in plan], division.seed)
        seen = [t for t in plan for _ in range(t.frames) if t.molecule.name not in aside]
        division.parts(system, [_stratum(t.molecule.name, t.molecule.group, t.temperature) for t in seen])
    files: dict[str, list[Atoms]] = {}
    for system, plan in plans.items():
        minima, structures = _sampled(system, plan, division.seed)
        known, unseen = ([a for a in structures if a.info["molecules"] == which] for which in (SEEN, UNSEEN))
        files |= division.files(system, known, [_stratum(**atoms.info) for atoms in known])
        if unseen:
            strata = [_stratum(**atoms.info) for atoms in unseen]
            order = representative_order(range(len(unseen)), strata, seed=division.seed)
            files[f"{system}_{UNSEEN}.xyz"] = [unseen[i] for i in order]
        files[f"{system}_minima.xyz"] = minima
    write_files(out, files, force=force)
    return files


def unseen_molecules(molecules: Sequence[Molecule], seed: int) -> set[str]:
    """Names of the molecules that are put aside: a fifth of each group, at least one where it has three."""
    distinct = list({molecule.name: molecule for molecule in molecules}.values())
    aside = split([(m.group,) for m in distinct], val_fraction=0.0, test_fraction=UNSEEN_FRACTION, seed=seed)["test"]
    return {distinct[i].name for i in aside}


def relaxed(molecule: Molecule, seed: int) -> Atoms:
    """The molecule at an energy minimum of GFN2-xTB, labelled as :func:`snapshots` are, its ``temperature`` zero.

    Raises:
        ValueError: xTB does not converge, the relaxation does not, or the molecule turns into another.
    """
    atoms = molecule.geometry(seed)
    atoms.calc = gfn2_calculator()
    converged = _run(molecule, "in its relaxation", lambda: BFGS(atoms, logfile=None).run(_RELAXED, _RELAXATION_STEPS))
    if not converged:
        raise ValueError(
            f"{molecule.title} is not relaxed after {_RELAXATION_STEPS} steps: leave it out of the list of molecules."
        )
    return _labelled_molecule(atoms, molecule, 0.0)


def snapshots(system: str, plan: Sequence[MoleculeTrajectory], minima: dict[str, Atoms], seed: int) -> Iterator[Atoms]:
    """Labelled snapshots of each trajectory; on one thread bitwise the same for the same seed.

    Args:
        minima: where trajectories begin, by name of the molecule

    Returns:
        an iterator of structures with energy (eV), energies (n,) in eV and forces (n, 3) in eV/Å in a
        SinglePointCalculator, and ``group``, ``molecule`` and ``temperature`` (K) in ``info``.

    Raises:
        ValueError: xTB does not converge, or a molecule breaks.
    """
    seeds = np.random.SeedSequence([seed, *system.encode()]).spawn(len(plan))
    for trajectory, own_seed in zip(plan, seeds, strict=True):
        minimum, where = minima[trajectory.molecule.name], f"at {trajectory.temperature:g} K"
        atoms = Atoms(minimum.symbols, minimum.positions)
        atoms.calc = gfn2_calculator()
        dynamics = LangevinBAOAB(
            atoms,
            _TIME_STEP * ase.units.fs,
            temperature_K=trajectory.temperature,
            T_tau=_MEMORY * ase.units.fs,
            rng=np.random.default_rng(own_seed),
        )
        _run(trajectory.molecule, where, partial(dynamics.run, _EQUILIBRATION_STEPS))
        for _ in range(trajectory.frames):
            _run(trajectory.molecule, where, partial(dynamics.run, _STEPS_BETWEEN_FRAMES))
            yield _labelled_molecule(atoms, trajectory.molecule, trajectory.temperature)


def gfn2_calculator() -> Calculator:
    """ASE calculator of energy, atomic energies and forces of a neutral closed-shell molecule."""
    with extra("xtb", "a calculation with GFN2-xTB"):
        from tblite.ase import TBLite
    return TBLite(
        method="GFN2-xTB", charge=0, multiplicity=1, accuracy=_ACCURACY, max_iterations=_MAX_CYCLES, verbosity=0
    )


def _plan(system: str, smiles: Path | None, frames: int, temperatures: Sequence[float]) -> list[MoleculeTrajectory]:
    if not len(temperatures) or not all(0 < t < np.inf for t in temperatures):
        raise ValueError(f"temperatures must be positive, in K, found {list(temperatures)}")
    pairs = [(molecule, t) for molecule in molecules_of(system, smiles) for t in temperatures]
    if frames < len(pairs):
        raise ValueError(
            f"frames is {frames}, and the set {system} has {len(pairs)} molecules and temperatures: give at least one "
            "structure for each, three or more to divide them into train, validation and test."
        )
    return [MoleculeTrajectory(*pair, share) for pair, share in zip(pairs, even_shares(frames, len(pairs)))]


def _sampled(system: str, plan: Sequence[MoleculeTrajectory], seed: int) -> tuple[list[Atoms], list[Atoms]]:
    """The minima and the snapshots of a set, with progress bars."""
    molecules = {trajectory.molecule.name: trajectory.molecule for trajectory in plan}
    # inside the bar, which then ends its line before what is wrong is said
    relaxing = (relaxed(molecule, seed) for molecule in molecules.values())
    bar = progress_bar(relaxing, desc=f"{system} molecules", total=len(molecules))
    minima = dict(zip(molecules, bar, strict=True))
    total = sum(trajectory.frames for trajectory in plan)
    structures = list(progress_bar(snapshots(system, plan, minima, seed), desc=f"{system} structures", total=total))
    aside = unseen_molecules(list(molecules.values()), seed)
    for atoms in (*structures, *minima.values()):
        atoms.info["molecules"] = UNSEEN if atoms.info["molecule"] in aside else SEEN
    return list(minima.values()), structures


def _stratum(molecule: str, group: str, temperature: float, **_: Any) -> Stratum:
    return group, molecule, f"{temperature:g} K"


def _labelled_molecule(atoms: Atoms, molecule: Molecule, temperature: float) -> Atoms:
    """A copy about its centre of mass, labelled by a calculation that remembers no other."""
    frame = Atoms(atoms.symbols, atoms.positions - atoms.get_center_of_mass())
    where = f"at {temperature:g} K" if temperature else "in its relaxation"
    broken = molecule.broken_bond(frame.positions, covalent_radii[frame.numbers])
    if broken:
        raise ValueError(
            f"the bond {broken} of {molecule.title} breaks {where}: give lower temperatures, or leave the molecule out "
            "of the list."
        )
    calculator = gfn2_calculator()
    _run(molecule, where, lambda: calculator.calculate(frame))
    names = ("energy", "energies", "forces")
    frame.calc = SinglePointCalculator(frame, **{name: calculator.results[name] for name in names})
    frame.info = {"group": molecule.group, "molecule": molecule.name, "temperature": float(temperature)}
    return frame


def _run(molecule: Molecule, where: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except CalculationFailed as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"GFN2-xTB does not converge for {molecule.title} {where} ({reason}): give lower temperatures, or leave "
            "the molecule out of the list."
        ) from None
