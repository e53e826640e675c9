"""What LAMMPS's pair styles ``nequip`` and ``allegro`` do with a deployed file, in Python.

Written from what the pair styles' sources say of inputs, outputs and metadata, and from nothing in the package, so that
it can contradict the package. Their faults are here too: what crashes raises, and memory that they leave unfilled is
zero, as it is in LAMMPS as long as nothing else was there.
"""

import struct
import zipfile
from itertools import product

import numpy as np
import torch
from scipy.spatial import cKDTree

SKIN = 1.0  # Å, LAMMPS's default is 2


class PairStyle:
    """``pair_style`` and ``pair_coeff * * FILE names`` of LAMMPS.

    Args:
        style: ``nequip`` or ``allegro``
        path: deployed file
        names: the model's type for each LAMMPS type
        glibc: version of the system's C library
        tunables: the environment variable ``GLIBC_TUNABLES``
    """

    def __init__(self, style, path, names, glibc=(2, 40), tunables=""):
        self.style = style
        self.aot = str(path).endswith(".nequip.pt2")
        if self.aot:
            if glibc >= (2, 41) and "glibc.rtld.execstack=2" not in tunables and 7 in stack_flags(path):
                raise OSError("cannot enable executable stack as shared object requires: Invalid argument")
            self.model = torch._inductor.aoti_load_package(str(path))
            metadata = self.model.get_metadata()
        else:
            keys = ("r_max", "per_edge_type_cutoff", "type_names", "num_types", "allow_tf32")
            extra = dict.fromkeys(keys, "")
            model = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
            metadata = {k: v.decode() if isinstance(v, bytes) else v for k, v in extra.items()}
            model.eval()
            self.model = torch.jit.freeze(model) if hasattr(model, "training") else model
        assert metadata["allow_tf32"] in ("0", "1")
        self.r_max = float(metadata["r_max"])
        model_names = metadata["type_names"].split()
        assert len(model_names) == int(metadata["num_types"])
        self.names = list(names)
        self.types = [model_names.index(name) if name in model_names else -1 for name in names]
        self.cutoffs = self._cutoffs(metadata.get("per_edge_type_cutoff"), len(model_names))
        if -1 in self.types:
            raise ValueError("All pair coeffs are not set")
        self.inputs = metadata.get("nequip_aoti_inputs", "").split()
        self.outputs = metadata.get("nequip_aoti_outputs", "").split()

    def _cutoffs(self, table, n_model):
        """By LAMMPS types: of each of the model's types, the last LAMMPS type is found, and its row is filled."""
        n_types = len(self.names)
        if not table:
            return np.full((n_types, n_types), self.r_max)
        last = np.full(n_model, -1)
        for i, t in enumerate(self.types):
            if t < 0:
                raise MemoryError("double free or corruption")  # of what lies before the array
            last[t] = i
        cutoffs = np.zeros((n_types, n_types))
        for (s, t), cutoff in zip(product(range(n_model), repeat=2), map(float, table.split())):
            if last[s] >= 0 and last[t] >= 0:
                cutoffs[last[s], last[t]] = cutoff
        return cutoffs

    def compute_atom(self, quantity, atoms):
        """What ``compute ID all STYLE/atom QUANTITY 1 0`` has for each atom of the rank, shape (n_atoms,).

        It looks a name up in what the model gives, and reads doubles in rows of one, of ghosts too under allegro.
        """
        self.compute(atoms)
        if quantity not in self.output:
            raise RuntimeError(f"missing {quantity}")
        values = self.output[quantity].detach().contiguous().reshape(-1, 1)
        assert values.dtype == torch.float64
        assert len(values) == self.n_given if self.style == "allegro" else len(atoms)
        return values[: len(atoms), 0].numpy()

    def compute(self, atoms):
        """Energy in eV, forces in eV/Å and the six components of LAMMPS's virial in eV (xx yy zz xy xz yz).

        Arrays ``id`` and ``type`` of the atoms, as ASE reads them from a data file, are LAMMPS's; without, atoms count
        from 1, and are of the first LAMMPS type named like their element.
        """
        cell = atoms.cell.array
        assert np.allclose(cell, np.tril(cell)), "LAMMPS's boxes are lower triangular"
        x, owner = self._with_ghosts(atoms.get_positions(wrap=True), cell)
        kinds = np.array([self.names.index(s) for s in atoms.symbols])
        kinds = atoms.arrays.get("type", kinds + 1) - 1
        if self.style == "nequip":
            # an array of as many places as there are atoms, and one more, is indexed by atom IDs
            if np.any(atoms.arrays.get("id", np.ones(1)) > len(atoms)):
                raise MemoryError("free(): invalid next size")
        out = self._call(self._inputs(x, owner, kinds, cell))
        energy = out["atomic_energy"][: len(atoms), 0].sum().item()
        forces = np.zeros((len(atoms), 3))
        # newton on: forces on ghosts are communicated back; newton off: there are none
        np.add.at(forces, owner[: len(out["forces"])], out["forces"].numpy())
        v = out["virial"].numpy()[0]
        return energy, forces, np.array([v[0, 0], v[1, 1], v[2, 2], v[0, 1], v[0, 2], v[1, 2]])

    def _with_ghosts(self, positions, cell):
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        reach = np.ceil((self.r_max + SKIN) / heights).astype(int)
        shifts = [s for s in product(*(range(-n, n + 1) for n in reach)) if any(s)]
        images = np.concatenate([positions + np.array(s) @ cell for s in shifts])
        owners = np.tile(np.arange(len(positions)), len(shifts))
        near = cKDTree(positions).query(images)[0] <= self.r_max + SKIN
        return np.concatenate([positions, images[near]]), np.concatenate([np.arange(len(positions)), owners[near]])

    def _inputs(self, x, owner, kinds, cell):
        n_local = len(kinds)
        pairs = [(i, j) for i, row in enumerate(cKDTree(x).query_ball_point(x[:n_local], self.r_max)) for j in row]
        i, j = np.array([(i, j) for i, j in pairs if i != j]).T
        inside = np.linalg.norm(x[i] - x[j], axis=1) <= self.cutoffs[kinds[i], kinds[owner[j]]]
        i, j = i[inside], j[inside]
        types = np.array(self.types)[kinds[owner]]
        if self.style == "allegro":
            return {
                "pos": torch.tensor(x),
                "edge_index": torch.tensor(np.stack([i, j])),
                "atom_types": torch.tensor(types),
            }
        shifts = np.round((x[j] - x[owner[j]]) @ np.linalg.inv(cell))
        return {
            "pos": torch.tensor(x[:n_local]),
            "edge_index": torch.tensor(np.stack([i, owner[j]])),
            "atom_types": torch.tensor(types[:n_local]),
            "cell": torch.tensor(cell).unsqueeze(0),
            "edge_cell_shift": torch.tensor(shifts),
        }

    def _call(self, data):
        if self.aot:
            out = dict(zip(self.outputs, self.model([data[name] for name in self.inputs])))
        else:
            out = self.model(data)
        self.output, self.n_given = out, len(data["pos"])
        # the pair styles read doubles of these shapes
        n_atoms = len(data["pos"])
        shapes = {"atomic_energy": (n_atoms, 1), "forces": (n_atoms, 3), "virial": (1, 3, 3)}
        for name, shape in shapes.items():
            assert out[name].shape == shape and out[name].dtype == torch.float64, name
        return {name: out[name].detach() for name in shapes}


def stack_flags(path):
    """Rights (read 4, write 2, execute 1) that the shared objects in an archive ask for their stacks."""
    flags = set()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".so"):
                elf = archive.read(name)
                start, size, count = (*struct.unpack_from("<Q", elf, 32), *struct.unpack_from("<HH", elf, 54))
                headers = [struct.unpack_from("<II", elf, start + i * size) for i in range(count)]
                flags |= {rights for kind, rights in headers if kind == 0x6474E551}
    return flags
