"""The starts that a study compares, each a NequIP config with overrides, some with a pre-training before them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.study.config.entries import entries_of, hydra_overrides, named, text, unique, unparsed

SCRATCH, ELEMENT_MAP, CORRESPONDING_STATES = "scratch", "element_map", "corresponding_states"
_NO_SCALES = ("++element_transfer.length_scale=none", "++element_transfer.energy_scale=none")
_CONFIGS = ("scratch", "transfer")  # keys of a study


@dataclass(frozen=True)
class PretrainingStructures:
    """Files of a pre-training, such as a teacher's labels.

    Args:
        train: training set, in place of ``data.train_file_path``
        val: validation set; None leaves that of the config
    """

    train: str
    val: str | None = None


@dataclass(frozen=True)
class Pretraining:
    """A training before those of a start, which then have its model for a source.

    Args:
        config: a NequIP config
        overrides: Hydra overrides of that config
        transfers: whether it has a source itself, or random weights
        structures: its files; None leaves those of the config
    """

    config: Path
    overrides: tuple[str, ...]
    transfers: bool
    structures: PretrainingStructures | None = None


@dataclass(frozen=True)
class Arm:
    """One of the starts that a study compares.

    Args:
        name: of the start
        config: a NequIP config
        overrides: Hydra overrides of that config
        transfers: whether it has a source, or random weights
        pretrain: what its source is trained by; None if that is the study's source
    """

    name: str
    config: Path
    overrides: tuple[str, ...]
    transfers: bool
    pretrain: Pretraining | None = None

    @property
    def needs_source(self) -> bool:
        """Whether the study's source is asked for, by the start or by its pre-training."""
        return self.transfers if self.pretrain is None else self.pretrain.transfers


def read_starts(value: Any, configs: Mapping[str, Path], folder: Path) -> tuple[Arm, ...]:
    """The entry ``starts``.

    Args:
        value: of the entry; None for those that ``configs`` allow
        configs: of the keys ``scratch`` and ``transfer``
        folder: from which paths of configs start

    Raises:
        FileNotFoundError, ValueError: a sentence on what is wrong
    """
    if value is None and configs:
        value = _all_starts(configs)
    known = (SCRATCH, ELEMENT_MAP, CORRESPONDING_STATES)
    if isinstance(value, list):
        value = dict.fromkeys(unique("starts", [text("starts", start) for start in value]))
    if not value:
        raise ValueError(f"the grid has no runs: give `starts` some of {', '.join(known)}, and a config for each.")
    return tuple(_arm(name, entry, configs, folder) for name, entry in named("starts", value, unparsed).items())


def config_file(key: str, value: Any, folder: Path) -> Path:
    """The path of a NequIP config.

    Raises:
        FileNotFoundError, ValueError: it is none, naming ``key``
    """
    if not isinstance(value, str):
        raise ValueError(f"`{key}` must be the path of a NequIP config, found {value!r}.")
    path = (folder / value).resolve()
    if path.suffix != ".yaml":
        raise ValueError(f"`{key}` is {value!r}: Hydra reads configs whose names end in .yaml.")
    if not path.is_file():
        raise FileNotFoundError(f"`{key}` names the config {value!r}, which does not exist in {folder}.")
    return path


def _all_starts(configs: Mapping[str, Path]) -> list[str]:
    """The starts that a study without ``starts`` compares."""
    names = {"scratch": [SCRATCH], "transfer": [ELEMENT_MAP, CORRESPONDING_STATES]}
    return [start for key in configs for start in names[key]]


def _arm(name: str, entry: Any, configs: Mapping[str, Path], folder: Path) -> Arm:
    if entry is None:
        choices = {
            SCRATCH: ("scratch", ()),
            ELEMENT_MAP: ("transfer", _NO_SCALES),
            CORRESPONDING_STATES: ("transfer", ()),
        }
        if name not in choices:
            raise ValueError(
                f"`starts` has {name!r}{suggest(name, choices)}, or a start of your own as "
                f"{name}: {{config: ..., overrides: [...]}}."
            )
        config, overrides = choices[name]
        path = _named_config(f"start {name!r}", f"starts.{name}", config, configs, folder)
        return Arm(name, path, overrides, _transfers(path, configs))
    key = f"starts.{name}"
    entry = entries_of(key, entry, ("config", "overrides", "pretrain"))
    path, overrides = _own_config(f"start {name!r}", key, entry, configs, folder)
    arm = Arm(name, path, overrides, _transfers(path, configs))
    if "pretrain" not in entry:
        return arm
    if not arm.transfers:
        raise ValueError(
            f"`{key}` has `pretrain`, but its config starts from random weights: take transfer, or a config with "
            "`element_transfer`, whose source the pre-trained model then is."
        )
    return Arm(name, path, overrides, True, _pretraining(name, entry["pretrain"], configs, folder))


def _pretraining(start: str, value: Any, configs: Mapping[str, Path], folder: Path) -> Pretraining:
    key = f"starts.{start}.pretrain"
    entry = entries_of(key, value, ("config", "overrides", "structures"))
    path, overrides = _own_config(f"pre-training of {start!r}", key, entry, configs, folder)
    files = None
    if "structures" in entry:
        found = entries_of(f"{key}.structures", entry["structures"], ("train", "val"), required=("train",))
        files = PretrainingStructures(**{name: text(f"{key}.structures.{name}", file) for name, file in found.items()})
    return Pretraining(path, overrides, _transfers(path, configs), files)


def _own_config(
    whose: str, key: str, entry: Mapping[str, Any], configs: Mapping[str, Path], folder: Path
) -> tuple[Path, tuple[str, ...]]:
    """Config and overrides of an entry that the user wrote out."""
    if "config" not in entry:
        raise ValueError(f"`{key}` needs `config`: scratch, transfer, or the path of a NequIP config.")
    overrides = hydra_overrides(f"{key}.overrides", entry.get("overrides", []))
    return _named_config(whose, key, entry["config"], configs, folder), overrides


def _named_config(whose: str, key: str, config: Any, configs: Mapping[str, Path], folder: Path) -> Path:
    """The config of one of the study's keys, or of a path."""
    if config not in _CONFIGS:
        return config_file(f"{key}.config", config, folder)
    if config not in configs:
        raise ValueError(f"the {whose} needs the key `{config}`, a NequIP config.")
    return configs[config]


def _transfers(path: Path, configs: Mapping[str, Path]) -> bool:
    return path != configs.get("scratch")
