"""What NequIP 0.7 to 0.16 wrote, as today's code means it.

These releases are of the same kind as today's, and their checkpoints hold the same parts, but some words have changed
their meaning since, and nothing in NequIP notices:

==== =====================================================================================================
0.8  tensor products lie in ``tp_scatter``; ``compile_mode: script`` is gone
0.11 energy scales and shifts have the shape (n_types, 1) and not (n_types,)
0.14 energy scales and shifts are not given as lists
0.16 ``NequIPGNNModel`` has irreps of another order and, without parity, others; ``avg_num_neighbors`` is not left out;
     the type embedding comes before the radial basis, and averages (EMA) are known by their place only
0.17 ``NequIPGNNModel`` has radial networks of another depth and width unless told; a pair potential has an envelope of
     its own, whose exponent is 6 unless told, and not the model's
==== =====================================================================================================
"""

import re
from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from e3nn.o3 import Irrep, Irreps
from nequip.utils import get_current_code_versions

from nequip_elemtransfer.architecture.nequip_names import EMA_WEIGHT
from nequip_elemtransfer.output.refusal import RefusedFile, shortened

Release = tuple[int, ...]

# the first releases with what the table above says of them
_IRREPS, _OWN_ENVELOPES = (0, 16), (0, 17)

_GNN, _FULL_GNN = "NequIPGNNModel", "FullNequIPGNNModel"


def release(version: str) -> Release:
    """Major and minor number of a version; what NequIP may change a file's contents with."""
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version)[:2])


def versions_of(record: Any) -> dict[str, str]:
    """The versions of packages in what a training wrote of itself; those that are no text are left out."""
    found = record.get("versions") if isinstance(record, Mapping) else None
    items = found.items() if isinstance(found, Mapping) else ()
    return {name: version for name, version in items if isinstance(name, str) and isinstance(version, str)}


def nequip_release(versions: Mapping[str, str]) -> Release | None:
    """Of the NequIP that wrote a file; None if it does not say."""
    return release(versions.get("nequip", "")) or None


def who_wrote(versions: Mapping[str, str]) -> str:
    """A sentence on the releases of NequIP and its extensions that wrote a file, if others are installed; else none."""
    installed = {name: version for name, version in get_current_code_versions(verbose=False).items() if version}
    known = [name for name in versions if name in installed and name not in ("torch", "e3nn")]
    if all(release(versions[name]) == release(installed[name]) for name in known):
        return ""
    wrote, here = (", ".join(f"{name} {shown[name][:20]}" for name in known) for shown in (versions, installed))
    return f" It was written by {wrote}; installed are {here}."


def plain_options(architecture: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """An architecture whose options have today's form, and what was changed, in words.

    This goes by the options themselves: whoever wrote them, they can mean one thing only.
    """
    options, changed = dict(architecture), []
    types = options.get("type_names")
    lists = [n for n in ("per_type_energy_scales", "per_type_energy_shifts") if isinstance(options.get(n), list)]
    for name in lists:
        values = options[name]
        if not isinstance(types, (list, tuple)) or not all(isinstance(value, Real) for value in values):
            continue
        if len(values) == len(types):
            options[name] = dict(zip(map(str, types), values))
        elif len(values) == 1:  # one number for all types
            options[name] = values[0]
        if options[name] is not values:
            changed.append(f"`{name}` is a mapping and no list")
    if options.get("compile_mode") == "script":
        options["compile_mode"] = "eager"
        changed.append("`compile_mode` is eager and not script")
    return options, changed


def todays_options(options: Mapping[str, Any], written: Release | None) -> tuple[dict[str, Any], list[str]]:
    """An architecture that means today what it meant to the release that built the model, and what was changed.

    Args:
        options: with the sizes of a model that exists
        written: release whose code built the model; None counts as today's

    Raises:
        RefusedFile: if today's NequIP has no such model
    """
    options = dict(options)
    changed: list[str] = []
    if written is None or written >= _OWN_ENVELOPES:
        return options, changed
    builder = _builder(options)
    if builder == _GNN:
        for name, default in (("radial_mlp_depth", 2), ("radial_mlp_width", 64)):
            if name not in options:
                options[name] = default
                changed.append(f"`{name}` is {default}, the default of that time")
    if options.get("pair_potential") is not None:
        changed += _give_envelope(options)
    if written < _IRREPS and builder in (_GNN, _FULL_GNN) and options.get("avg_num_neighbors") is None:
        options["avg_num_neighbors"] = 1.0
        changed.append("`avg_num_neighbors` is 1, which leaves sums as they are")
    if written < _IRREPS and builder == _GNN:
        options = _with_irreps(options)
        changed.append("the irreps of `NequIPGNNModel` are written out")
    return options, changed


def todays_state(
    state: Mapping[str, Any], today: Mapping[str, Any], parameters: Sequence[str], written: Release | None
) -> tuple[dict[str, Any], list[str]]:
    """The state of a model or a training module with today's names, shapes and order, and what was changed, in words.

    Args:
        state: as stored
        today: state of the same built by today's code
        parameters: names of the model's parameters in today's order, which is that of the averages
        written: release whose code built the model; None if unknown

    Raises:
        RefusedFile: if it has another order than today's, and no release is named that explains it
    """
    found, changed = {_todays_name(name, today): value for name, value in state.items()}, []
    if found.keys() != state.keys():
        changed.append("tensor products lie in `tp_scatter`")
    if written is None and _weights(found, today) != _weights(today, found):
        raise RefusedFile(
            "its weights are in another order than today's, and it does not say which NequIP wrote it: what they mean "
            "is not known."
        )
    stored = [name for name in found if name in set(parameters)]
    averages = [found[name] for name in (f"{EMA_WEIGHT}{i}" for i in range(len(stored))) if name in found]
    if written is not None and written < _IRREPS and stored != list(parameters) and len(averages) == len(parameters):
        of = dict(zip(stored, averages))
        found |= {f"{EMA_WEIGHT}{i}": of[name] for i, name in enumerate(parameters)}
        changed.append("averages are in today's order")
    columns = [name for name, value in found.items() if _is_column(value, today.get(name))]
    found |= {name: found[name].reshape(-1, 1) for name in columns}
    if columns:
        changed.append("energy scales and shifts are columns")
    return found, changed


def _builder(options: Mapping[str, Any]) -> str | None:
    """The name of a builder of NequIP's own; None for that of an extension."""
    package, *_, name = options["_target_"].split(".")
    return name if package == "nequip" else None


def _weights(state: Collection[str], other: Collection[str]) -> list[str]:
    """The names of a model's state in order, as far as another has them."""
    return [name for name in state if name.startswith("model.") and name in other]


def _todays_name(name: str, today: Collection[str]) -> str:
    moved = name.replace(".conv.tp.", ".conv.tp_scatter.tp.")
    return moved if name not in today and moved in today else name


def _is_column(stored: Any, today: Any) -> bool:
    if not (isinstance(stored, torch.Tensor) and isinstance(today, torch.Tensor)):
        return False
    return stored.dim() == 1 and today.shape == (len(stored), 1)


def _with_irreps(options: dict[str, Any]) -> dict[str, Any]:
    """``NequIPGNNModel`` of before 0.16 as today's ``FullNequIPGNNModel``."""
    n_layers, l_max, n = (options.pop(k, d) for k, d in (("num_layers", 4), ("l_max", 1), ("num_features", 32)))
    if not isinstance(n, int):
        raise RefusedFile(f"`num_features` is {shortened(n)}, and NequIP before 0.16 had one number for all irreps.")
    parities = (1, -1) if options.pop("parity", True) else (1,)
    hidden = Irreps([(n, (degree, p)) for p in parities for degree in range(l_max + 1)])
    return options | {
        "_target_": f"nequip.model.{_FULL_GNN}",
        "irreps_edge_sh": str(Irreps.spherical_harmonics(l_max, p=-1 if len(parities) == 2 else 1)),
        "type_embed_num_features": n,
        "feature_irreps_hidden": [str(hidden)] * (n_layers - 1) + [str(Irreps([(n, Irrep("0e"))]))],
        "radial_mlp_depth": [options["radial_mlp_depth"]] * n_layers,
        "radial_mlp_width": [options["radial_mlp_width"]] * n_layers,
    }


def _give_envelope(options: dict[str, Any]) -> list[str]:
    """Give the pair potential the envelope of the model, which it had; gives what was changed."""
    pair_potential = dict(options["pair_potential"])
    if str(pair_potential.get("_target_")).endswith(".SimpleLennardJones"):
        if not pair_potential.pop("lj_use_cutoff", False):
            raise RefusedFile("its pair potential has no envelope at the cutoff radius, and today's have all.")
    allegro = options.get("radial_chemical_embed")
    p = (allegro if isinstance(allegro, Mapping) else options).get("polynomial_cutoff_p", 6)
    options["pair_potential"] = pair_potential if p == 6 else pair_potential | {"polynomial_cutoff_p": p}
    return [] if p == 6 else [f"the pair potential has the model's envelope, p = {shortened(p)}"]
