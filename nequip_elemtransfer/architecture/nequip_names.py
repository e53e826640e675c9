"""Names inside NequIP, Allegro, Lightning and PyTorch on which nobody has promised to keep.

They are private, or they are known here by a word where Python cannot import them: class names of modules (a package of
``nequip-package`` holds copies of NequIP's classes), attributes, names of parameters, keys of a checkpoint. Each is
checked where it is used, so that a release without one ends in a sentence and not in a step that does nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

KNOWN_VERSIONS = "NequIP 0.19 with Allegro 0.8, Lightning 2.6 and PyTorch 2.6 to 2.13"
_DISTRIBUTIONS = ("nequip", "nequip-allegro", "lightning", "torch")

# What :func:`imported` gives. Every dotted name may be private in any of its parts.
IMPORTED = (
    "nequip.data.datamodule._base_datamodule._default_collate_fn_factory",
    "nequip.data.dataset.AtomicDataset._get_data_list",
    "nequip.integrations.ase.NequIPCalculator._from_saved_model",
    "nequip.integrations.lammps_mliap.lmp_mliap_wrapper.NequIPLAMMPSMLIAPWrapper._initialize_model",
    "nequip.model.saved_models.load_utils._get_model_file_path",
    "nequip.scripts._compile_utils.COMPILE_TARGET_DICT",
    "nequip.scripts._workflow_utils.set_workflow_state",
    "nequip.train.lightning._SOLE_MODEL_KEY",
    "nequip.train.lightning._default_param_group_factory",
    "torch._C.PyTorchFileReader",
    "torch._foreach_lerp_",
    "torch._inductor.cpp_builder.get_cpp_compiler",
    "torch._inductor.exc.InvalidCxxCompiler",
    "torch.utils._triton.has_triton",
)


@dataclass(frozen=True)
class Kind:
    """A class of modules: where the installed packages have it, and attributes of its instances that are used here."""

    path: str
    attributes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The class name, by which copies in a package are known too."""
        return self.path.rpartition(".")[2]


ENERGIES = Kind("nequip.nn.PerTypeScaleShift", ("scales", "shifts", "type_names"))
LENGTHS = Kind("nequip.nn.embedding.EdgeLengthNormalizer", ("_rmax_recip",))
FACTOR = Kind("nequip.nn.misc.ApplyFactor", ("in_field", "factor"))
DERIVATIVES = Kind("nequip.nn.ForceStressOutput", ("do_derivatives",))
FORCES = Kind(DERIVATIVES.path)  # in a package of NequIP before 0.16 they cannot be switched off
LENNARD_JONES = Kind("nequip.nn.pair_potential.LennardJones", ("epsilon", "sigma", "delta"))
ALLEGRO = Kind("allegro.nn.Allegro_Module")
CONVOLUTION = Kind("nequip.nn.interaction_block.InteractionBlock", ("sc", "is_first_layer"))
NEIGHBOR_NORM = Kind("nequip.nn.AvgNumNeighborsNorm")
READOUT = Kind("nequip.nn.ScalarMLP", ("field", "out_field"))  # those that make energies, among others
MODULE_KINDS = (ENERGIES, LENGTHS, FACTOR, DERIVATIVES, LENNARD_JONES, ALLEGRO, CONVOLUTION, NEIGHBOR_NORM, READOUT)

# Attribute of the module that holds a pair potential, and option of the builder that asks for one.
PAIR_POTENTIAL = "pair_potential"

# Attribute of a NequIP convolution, and name below it of the bias-free weight that takes the radial encoding.
RADIAL_NETWORK, FIRST_RADIAL_WEIGHT = "edge_mlp", "mlp.0.weight"

# State of a training module: where the model's, the averages' and the run's tensors are, and what EMA says of itself.
STATE_PREFIXES = ("model.", "ema.", "run_stage")
EMA_STATE, EMA_HOLDS_AVERAGES, EMA_DECAY = "ema._extra_state", "is_holding_ema_weights", "decay"
EMA_WEIGHT = "ema.ema_weight_"  # and a number, in the order of the model's parameters

# State of Lightning's ModelCheckpoint: files that it loads or deletes, and those among them that it ranks.
BEST_PATH, BEST_SCORE, MONITOR = "best_model_path", "best_model_score", "monitor"
SAVED_PATHS = (BEST_PATH, "kth_best_model_path", "last_model_path")
RANKED_PATHS = "best_k_models"


class UnknownName(RuntimeError):
    """The installed packages, or a model, lack a name that this one relies on."""


def imported(path: str) -> Any:
    """The object behind a dotted name of ``IMPORTED`` or of a :class:`Kind`.

    Raises:
        UnknownName: if the installed packages do not have it
    """
    if path not in IMPORTED and path not in [kind.path for kind in MODULE_KINDS]:
        raise LookupError(f"{path} belongs into the list of nequip_names.py.")
    return _at(path)


def model_builder_code() -> Any:
    """The code object that all functions decorated with NequIP's ``model_builder`` share, which marks a model builder.

    Raises:
        UnknownName: if they do not share one
    """
    builder, decorate = _at("nequip.model.NequIPGNNModel"), _at("nequip.model.model_builder")
    undecorated = lambda type_names: None  # noqa: E731
    code = getattr(builder, "__code__", None)
    if code is None or code is undecorated.__code__ or getattr(decorate(undecorated), "__code__", None) is not code:
        raise _unknown("functions decorated with nequip.model.model_builder do not share one code object")
    return code


def untransformed(dataset: Any, index: int) -> Any:
    """A structure of a NequIP ``AtomicDataset`` as it is before the dataset's transforms.

    Raises:
        UnknownName: if the installed NequIP's datasets do not tell
    """
    imported("nequip.data.dataset.AtomicDataset._get_data_list")
    return dataset._get_data_list([index])[0]


def modules(model: Any, kind: Kind) -> list[Any]:
    """The modules of a kind in a model; there may be none.

    Args:
        model: a ``torch.nn.Module``

    Raises:
        UnknownName: if the installed packages do not have the class, or a module of this class not the attributes
    """
    if find_spec(kind.path.split(".")[0]) is not None:  # a package may hold a model of an extension that is not here
        imported(kind.path)
    found = [module for module in model.modules() if type(module).__name__ == kind.name]
    lacking = {name for module in found for name in kind.attributes if not hasattr(module, name)}
    if lacking:
        raise _unknown(f"a module {kind.name} of the model has no {', '.join(sorted(lacking))}")
    return found


def the_module(model: Any, kind: Kind) -> Any:
    """The only module of a kind in a model.

    Raises:
        UnknownName: if there is none or several
    """
    return _only(modules(model, kind), kind.name)


def holder_of_pair_potential(model: Any) -> Any:
    """The module whose attribute is the model's pair potential.

    Raises:
        UnknownName: if there is none or several
    """
    return _only([module for module in model.modules() if hasattr(module, PAIR_POTENTIAL)], PAIR_POTENTIAL)


def first_radial_weights(model: Any) -> list[str]:
    """Names of the parameters that take the radial encoding, one for each radial network.

    Raises:
        UnknownName: if there is none, or a radial network has none of this name
    """
    networks = [name for name, module in model.named_modules() if hasattr(module, RADIAL_NETWORK)]
    weights = [f"{name}.{RADIAL_NETWORK}.{FIRST_RADIAL_WEIGHT}" for name in networks]
    lacking = set(weights) - {name for name, _ in model.named_parameters()}
    if lacking or not weights:
        described = ", ".join(sorted(lacking)) or f"{RADIAL_NETWORK}.{FIRST_RADIAL_WEIGHT}"
        raise _unknown(f"the model has no parameter {described}, which takes the radial encoding")
    return weights


def _only(found: Iterable[Any], name: str) -> Any:
    found = list(found)
    if len(found) != 1:
        raise _unknown(f"the model has {len(found) or 'no'} modules {name} where one is needed")
    return found[0]


@cache
def _at(path: str) -> Any:
    try:
        return resolve_name(path)
    except (ImportError, AttributeError) as error:
        raise _unknown(f"{path} does not exist in what is installed ({error})") from error


def _unknown(lacking: str) -> UnknownName:
    installed = ", ".join(f"{name} {found}" for name in _DISTRIBUTIONS if (found := _installed(name)))
    return UnknownName(f"{lacking}: nequip-elemtransfer knows {KNOWN_VERSIONS}, and installed are {installed}.")


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
