"""What users get wrong in the key and around it, and what they are told."""

from dataclasses import dataclass, field
from typing import Any

from real_runs import MODEL

TYPES = "${element_transfer:type_names}"
R_MAX = "${element_transfer:r_max}"
MAPPER, NEIGHBOURS = ("data", "transforms", 0), ("data", "transforms", 1)
TWO = {"elements": {"Ge": "Si", "Si": "Si"}, "energy_scale": 0.8}


@dataclass
class Misuse:
    """What is wrong in a config, and what is said about it.

    Args:
        message: what the sentence holds, a regular expression
        key: entries of the key in place of the right ones; None takes an entry out
        overrides: of the command line
        config: value at a path in the config; None takes it out
        kind: class of the exception
    """

    message: str
    key: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    config: dict[tuple, Any] = field(default_factory=dict)
    kind: str = "ValueError"


def key(message, kind="ValueError", **entries):
    return Misuse(message, key=entries, kind=kind)


def override(message, *overrides, kind="ValueError"):
    return Misuse(message, overrides=overrides, kind=kind)


def config(message, entries, kind="ValueError", **of_key):
    return Misuse(message, key=of_key, config=entries, kind=kind)


BY_HAND = {("training_module", "model"): MODEL | {"type_names": ["Ge"]}}
NOT_FROM_KEY = "does not look its model up, so nothing is transferred: .* set `model: \\${element_transfer:model}`"

MISUSES = {
    # ---- source
    "no source": key("`element_transfer.source` is missing: give e.g. `source: ../si/best.ckpt`", source=None),
    "source that is not there": key(
        "source 'none.ckpt' does not exist: give the path", "FileNotFoundError", source="none.ckpt"
    ),
    "source that is empty": key("`element_transfer.source` must be a path, found ''", source=""),
    "source of a name longer than those of files": key(
        "source 'aaaa.*... does not exist: give the path", "FileNotFoundError", source="a" * 5000
    ),
    "source that is a number": key("`element_transfer.source` must be a path, found 3", source=3),
    "source that is a list": key(r"must be a path, found \['si.ckpt'\]", source=["si.ckpt"]),
    "source that is a folder": key("source '.' is a folder", "FileNotFoundError", source="."),
    "source that is a config": key(
        "source .*config.yaml' is damaged, truncated or not a", "RefusedFile", source="{folder}/config.yaml"
    ),
    "source that is no model of nequip.net": key("'nequip.net:none' cannot be fetched", source="nequip.net:none"),
    "source from an environment variable that is not set": key(
        "'NO_SUCH_VARIABLE' not found", "KeyError", source="${oc.env:NO_SUCH_VARIABLE}"
    ),
    # ---- elements
    "no elements": key("`element_transfer.elements` is missing", elements=None),
    "no element": key("`element_transfer.elements` must map target types, found {}", elements={}),
    "elements that are one word": key("must map target types, found 'Ge'", elements="Ge"),
    "elements that are a list": key(r"must map target types, found \['Ge'\]", elements=["Ge"]),
    "element without a start": key("holds None where a type name is expected", elements={"Ge": None}),
    "element that starts from a number": key("holds 14 where a type name is expected", elements={"Ge": 14}),
    "nobelium without quotes": key(
        "holds False .* put names that YAML reads otherwise in quotes", elements={"Ge": False}
    ),
    "source type in lower case": key(
        "from 'si', which is not a type of the source; did you mean", elements={"Ge": "si"}
    ),
    "source type that is not there": key(
        "'Sn', which is not a type of the source.* Choices: Si", elements={"Ge": "Sn"}
    ),
    "source and target the wrong way round": key("starts 'Si' from 'Ge', which is not a type", elements={"Si": "Ge"}),
    "target name of other letters": key("target type 'Ge_1' .* hold only letters and digits", elements={"Ge_1": "Si"}),
    "target in no data": key("training structure 0 holds Ge, not all of them in `elements`", elements={"Sn": "Si"}),
    "target that is no element": key("'Gee' is not a chemical element", elements={"Gee": "Si"}),
    "blend that is no whole": key("sum to 0.9: weights must sum to 1", elements={"Ge": {"Si": 0.9}}),
    "blend of percents": key("weight 100: weights are numbers from 0 to 1", elements={"Ge": {"Si": 100}}),
    "blend of words": key("the weight 'all': weights are numbers", elements={"Ge": {"Si": "all"}}),
    "blend of nothing": key("sum to 0: weights must sum to 1", elements={"Ge": {}}),
    "type named twice on the command line": override(
        "names a type twice .found duplicate key Ge.: keep one", "element_transfer.elements={Ge:Si,Ge:Sn}"
    ),
    "blend of what is proposed": key(
        "from 'auto', which is not a type of the source. Choices: Si.$", elements={"Ge": {"auto": 1.0}}
    ),
    # ---- length_scale
    "length scale of an unknown word": key("did you mean 'covalent_radii'", length_scale="covalent"),
    "length scale of a word that is a number": key("`element_transfer.length_scale` is '1.08'", length_scale="1.08"),
    "length scale that is a cutoff": key("is 5.4 for 'Ge', which cannot be meant: λ, .* 0.333 and 3", length_scale=5.4),
    "length scale of a billion": key("is 1000000000.0, which cannot be meant: λ", length_scale=1e9),
    "length scale near zero": key("is 1e-09, which cannot be meant: λ", length_scale=1e-9),
    "length scale of 400 digits": key("is 1000+, which cannot be meant: λ", length_scale=10**400),
    "length scale in percent": key("is 108, which cannot be meant: λ", length_scale=108),
    "length scale below zero": key("must be positive, found -1.08", length_scale=-1.08),
    "length scale that is no number": key("needs finite numbers, found nan", length_scale=float("nan")),
    "length scale that is true": key("`element_transfer.length_scale` is True; choices", length_scale=True),
    "length scale that is a list": key(r"`element_transfer.length_scale` is \[1.08\]; choices", length_scale=[1.08]),
    "length scale of another type": key("names the type 'Si', which is not in `elements`", length_scale={"Si": 1.08}),
    "length scale of no type": key("gives no number for Ge: name every type", length_scale={}),
    "length scale of a type in words": key("finite numbers, found 'fit' for 'Ge'", length_scale={"Ge": "fit"}),
    # ---- energy_scale and energy_shifts
    "energy scale out of this world": key(r"is 1e\+300, which cannot be meant: α", energy_scale=1e300),
    "energy scale of a type out of this world": key(r"is 1e\+300 for 'Ge', .* α", energy_scale={"Ge": 1e300}),
    "energy scale of zero": key("must be positive, found 0", energy_scale=0),
    "energy scale of another setting": key("'covalent_radii'.*Choices: fit, none", energy_scale="covalent_radii"),
    "energy scale that is infinite": key("needs finite numbers, found inf", energy_scale=float("inf")),
    "energy shifts that are one number": key("`element_transfer.energy_shifts` is -3.9; choices", energy_shifts=-3.9),
    "energy shift out of this world": key(
        "is 10000000000.0 for 'Ge', .* energy of an atom", energy_shifts={"Ge": 1e10}
    ),
    "energy shift in words": key("finite numbers, found '-3.9 eV' for 'Ge'", energy_shifts={"Ge": "-3.9 eV"}),
    "energy shifts of none": key("'none'.*Choices: fit, source", energy_shifts="none"),
    # ---- lattice constants, isolated atoms, fit_weights, kept_types
    "lattice constant of the target alone": key(
        "gives no lattice constant of Si, which λ of Ge needs", length_scale={"lattice": {"Ge": 5.763}}
    ),
    "lattice constants in two units": key(
        "gives 10.5376 for .Ge., which cannot be meant: λ.*in one unit",
        length_scale={"lattice": {"Si": 0.5469, "Ge": 5.763}},
    ),
    "lattice constant of another element": key(
        "names 'Sn', which is a type of neither", length_scale={"lattice": {"Si": 5.469, "Ge": 5.763, "Sn": 6.49}}
    ),
    "lattice constant alone": key("'lattice' stands alone and maps types", length_scale={"lattice": 5.763}),
    "lattice constant of zero": key("must be positive, found 0 for 'Si'", length_scale={"lattice": {"Si": 0, "Ge": 5}}),
    "no isolated atoms in the data": key("finds no isolated atom of Ge", energy_shifts="isolated_atoms"),
    "isolated atom out of this world": key(
        "which cannot be meant: the energy of an atom", energy_shifts={"isolated_atoms": {"Ge": 1e10}}
    ),
    "isolated atom of no target": key(
        "names the type 'Si', which is not in `elements`", energy_shifts={"isolated_atoms": {"Si": -0.1}}
    ),
    "fit weights that are one word": key("`element_transfer.fit_weights` must be a mapping", fit_weights="forces"),
    "fit weight of an unknown label": key("no 'force'; did you mean 'forces'", fit_weights={"force": 1}),
    "fit weight below zero": key("gives 'forces' the weight -1: give 0, or", fit_weights={"forces": -1}),
    "fit weights of zero": key("leaves out every kind", fit_weights={"energy": 0, "forces": 0, "stress": 0}),
    "kept types of an unknown word": key("'freeze'; did you mean 'frozen'", kept_types="freeze"),
    # ---- sha256, compile_mode, chemical_species
    "digest that is too short": key("the 64 hexadecimal digits", sha256="abc"),
    "digest of another file": key("has the SHA-256 [0-9a-f]{64}, but .* says 0{64}", "RefusedFile", sha256="0" * 64),
    "compile mode of PyTorch": key("'jit'.*Choices: eager, compile", compile_mode="jit"),
    "species that are one word": key("must map types to elements as in {GeBulk: Ge}", chemical_species="Ge"),
    "species that does not exist": key(
        "'Gee', which does not exist; did you mean 'Ge'", chemical_species={"Ge": "Gee"}
    ),
    "species that is a list": key("the element \\['Ge'\\], which does not exist", chemical_species={"Ge": ["Ge"]}),
    "species that the data do not know": key(
        r"`data.transforms\[0\]` takes the type 'Ge' for a chemical symbol, and for `element_transfer` it is Si: set "
        "`chemical_species_to_atom_type_map: {Si: Ge}`",
        chemical_species={"Ge": "Si"},
    ),
    "type that the data take for an element": key(
        "takes the type 'Bulk' for a chemical symbol, and for .* it is Ge: set .*: {Ge: Bulk}`",
        elements={"Bulk": "Si"},
        chemical_species={"Bulk": "Ge"},
    ),
    "species of no type": key("names 'GeBulk', which is a type of neither", chemical_species={"GeBulk": "Ge"}),
    # ---- the key itself
    "unknown entry": key("has no key 'lenght_scale'; did you mean 'length_scale'", lenght_scale=1.08),
    "key that is a path": config("must be a mapping .* found 'si.ckpt'", {("element_transfer",): "si.ckpt"}),
    "key that is empty": override("must be a mapping .* found None", "element_transfer=null"),
    "key that was taken out": override("no such key at the top level", "~element_transfer"),
    "key with a slip in its name": config(
        "no such key at the top level; did you mean 'elementtransfer'",
        {("element_transfer",): None, ("elementtransfer",): {"source": "si.ckpt", "elements": {"Ge": "Si"}}},
    ),
    "key in the training module": config(
        "at the top level: move it there from `training_module.element_transfer`",
        {("element_transfer",): None, ("training_module", "element_transfer"): {"elements": {"Ge": "Si"}}},
    ),
    "key that looks itself up": key("is looked up by what it is computed from", source=R_MAX),
    "types that look themselves up": key("is looked up by what it is computed from", elements=TYPES),
    # ---- look-ups
    "unknown look-up": config(
        "no `\\${element_transfer:rmax}`; did you mean 'r_max'", {(*NEIGHBOURS, "r_max"): "${element_transfer:rmax}"}
    ),
    "look-up of two names": config(
        "no `\\${element_transfer:r_max,Ge}`", {(*NEIGHBOURS, "r_max"): "${element_transfer:r_max,Ge}"}
    ),
    "look-up of no name": config("no `\\${element_transfer:}`", {(*NEIGHBOURS, "r_max"): "${element_transfer:}"}),
    "look-up with a dot": config(
        "'element_transfer.r_max' not found",
        {(*NEIGHBOURS, "r_max"): "${element_transfer.r_max}"},
        "InterpolationKeyError",
    ),
    "the key in place of a look-up": config(
        "r_max` is {.*neighbour lists would lack", {(*NEIGHBOURS, "r_max"): "${element_transfer}"}
    ),
    "model in place of the training module": config(
        "`training_module` as a whole is", {("training_module",): "${element_transfer:model}"}
    ),
    "model in the data": config(
        "is looked up by what it is computed from", {("data", "seed"): "${element_transfer:model}"}, length_scale="fit"
    ),
    "types in place of the model": config(NOT_FROM_KEY, {("training_module", "model"): TYPES}),
    "types in place of the cutoff": config(
        r"r_max` is \['Ge'\], and .* r_max = 4.32432 Å", {(*NEIGHBOURS, "r_max"): TYPES}
    ),
    "cutoff in place of the types": config(
        "model_type_names` is 1.0, and the model's types", {(*MAPPER, "model_type_names"): R_MAX}
    ),
    # ---- the key does nothing, or half
    "model by hand": config(NOT_FROM_KEY, BY_HAND),
    "only the types from the key": config(NOT_FROM_KEY, BY_HAND | {(*NEIGHBOURS, "r_max"): 4.0}),
    "nothing from the key": config(
        "but the model does not come from it, so the key does nothing",
        BY_HAND | {(*MAPPER, "model_type_names"): ["Ge"], (*NEIGHBOURS, "r_max"): 4.0},
    ),
    "model of a file in place of the key's": config(
        NOT_FROM_KEY,
        {("training_module", "model"): {"_target_": "nequip.model.ModelFromCheckpoint", "checkpoint_path": "ge.ckpt"}},
    ),
    "structures that are not there": config(
        "`data.train_file_path` names 'gone.xyz', which is not a file",
        {("data", "train_file_path"): "gone.xyz"},
        "FileNotFoundError",
    ),
    # ---- the data know better
    "types in another order": config(
        r"transforms\[0\].model_type_names` is \['Si', 'Ge'\], and the model's types are \['Ge', 'Si'\], in this order",
        {(*MAPPER, "model_type_names"): ["Si", "Ge"]},
        **TWO,
    ),
    "types of the source": config(
        r"is \['Si'\], and the model's types are \['Ge'\]", {(*MAPPER, "model_type_names"): ["Si"]}
    ),
    "more types than the model": config(r"is \['Ge', 'Si'\], and", {(*MAPPER, "model_type_names"): ["Ge", "Si"]}),
    "one type as a word": config("model_type_names` is Ge, and the model's", {(*MAPPER, "model_type_names"): "Ge"}),
    "species swapped by the map": config(
        "makes Ge atoms the type 'Si', which is Si for `element_transfer`: mend the map, or",
        {(*MAPPER, "chemical_species_to_atom_type_map"): {"Ge": "Si", "Si": "Ge"}},
        **TWO,
    ),
    "types of the statistics in another order": config(
        r"`data.stats_manager.type_names` is \['Si', 'Ge'\], and",
        {
            ("data", "stats_manager"): {
                "_target_": "nequip.data.CommonDataStatisticsManager",
                "type_names": ["Si", "Ge"],
            }
        },
        **TWO,
    ),
    "the source's cutoff": config(
        r"`data.transforms\[1\].r_max` is 4.0, .* would lack edges", {(*NEIGHBOURS, "r_max"): 4.0}
    ),
    "the source's cutoff on the command line": override("r_max` is 4.0, .* would lack edges", "cutoff_radius=4.0"),
    "a cutoff in quotes": config(r"r_max` is '4.5', and .* would lack edges", {(*NEIGHBOURS, "r_max"): "4.5"}),
    "an infinite cutoff": config(
        r"r_max` is inf Å, and .* would fill the memory", {(*NEIGHBOURS, "r_max"): float("inf")}
    ),
    "a cutoff in pm": config(r"r_max` is 432 Å, and .* would fill the memory", {(*NEIGHBOURS, "r_max"): 432}),
    "a cutoff below zero": config(r"r_max` is -4.5, .* would lack edges", {(*NEIGHBOURS, "r_max"): -4.5}),
    # ---- restarts
    "restart from nothing": override(
        "`ckpt_path` is '.*gone.ckpt', which is not a file", "+ckpt_path={folder}/gone.ckpt", kind="FileNotFoundError"
    ),
    "restart from an empty path": override(
        "`ckpt_path` is '', which is not a file", "+ckpt_path=''", kind="FileNotFoundError"
    ),
    "restart from the source": override(
        r"continues a model of the types \['Si'\], and .* has \['Ge'\]", "+ckpt_path={source}"
    ),
}
