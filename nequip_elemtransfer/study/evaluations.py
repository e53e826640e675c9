"""What is done with trained models besides the test set: the parts ``crystal``, ``reference``, ``properties``,
``stability`` and ``plan`` of a study, parsed and validated."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.dynamics import NPT, NVT, Criteria, Protocol
from nequip_elemtransfer.study.quantities import SURFACES, VALUES

ALL = "all"
CRYSTAL, VACANCY = "crystal", "vacancy"
PROPERTIES, STABILITY, PLAN = "properties", "stability", "plan"
KEYS = ("crystal", "reference", PROPERTIES, STABILITY, PLAN)
EAGER, AOTINDUCTOR = "eager", "aotinductor"


@dataclass(frozen=True)
class Reference:
    """What models are compared with.

    Args:
        calculator: Hydra's description of an ASE calculator, with ``_target_``; None if there is none
        values: known values of properties, in their units; they take precedence over the calculator's
    """

    calculator: Mapping[str, Any] | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PropertySettings:
    """Which properties are calculated.

    Args:
        sizes: of the training sets whose models are evaluated, numbers or ``all``; None for every size
        supercell: conventional cells along each edge, for the vacancy
        phonon_supercell: primitive cells along each edge
        surfaces: Miller indices
    """

    sizes: tuple[int | str, ...] | None = None
    supercell: int = 2
    phonon_supercell: int = 3
    surfaces: tuple[str, ...] = SURFACES


@dataclass(frozen=True)
class MDStart:
    """Where simulations begin.

    Args:
        file: structures that ASE reads, of which the runs take one each in turn; None for a crystal built here
        labels: that the structures of ``file`` must have
        temperatures: K, of the simulations
    """

    temperatures: tuple[float, ...]
    file: str | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StabilitySettings:
    """Simulations of each model.

    Args:
        starts: name -> where simulations begin; ``crystal`` and ``vacancy`` without a file are built
        sizes: as in :class:`PropertySettings`
        runs: simulations of each model, start and temperature
        time: ps
        timestep: fs
        ensemble: ``nvt`` or ``npt``
        supercell: conventional cells along each edge
        engine: ``eager``, or ``aotinductor``, which compiles the model first
        criteria: of failure
    """

    starts: Mapping[str, MDStart]
    sizes: tuple[int | str, ...] | None = None
    runs: int = 20
    time: float = 50.0
    timestep: float = 2.0
    ensemble: str = NVT
    supercell: int = 2
    engine: str = AOTINDUCTOR
    criteria: Criteria = Criteria()

    def protocol(self, temperature: float, seed: int = 0) -> Protocol:
        """Of one simulation, at a temperature in K."""
        return Protocol(temperature, self.time, self.timestep, self.ensemble, seed)


@dataclass(frozen=True)
class PlanSettings:
    """What ``nequip-elemtransfer plan`` says of each transfer, with the first seed's structures.

    Args:
        sizes: as in :class:`PropertySettings`
        source_data: structures the source was trained on; None leaves it to the checkpoint
    """

    sizes: tuple[int | str, ...] | None = None
    source_data: str | None = None


@dataclass(frozen=True)
class Evaluations:
    """All of it; a part that the study does not have is None."""

    crystal: Crystal | None = None
    reference: Reference = Reference()
    properties: PropertySettings | None = None
    stability: StabilitySettings | None = None
    plan: PlanSettings | None = None

    @classmethod
    def from_mapping(cls, entries: Mapping[str, Any]) -> "Evaluations":
        """Validate the entries of a study, others than :data:`KEYS` left aside.

        Raises:
            ValueError: a sentence on what is wrong
        """
        entries = {key: entries[key] for key in KEYS if entries.get(key) is not None}
        parsers = {
            "crystal": _crystal,
            "reference": _reference,
            PROPERTIES: _properties,
            STABILITY: _stability,
            PLAN: _plan,
        }
        found = cls(**{key: parsers[key](value) for key, value in entries.items()})
        for part in (PROPERTIES, STABILITY):
            if part in entries and found.crystal is None:
                raise ValueError(
                    f"`{part}` needs `crystal`, as in crystal: {{structure: diamond, formula: Ge, a: 5.658}}."
                )
        if found.properties and not found.crystal.is_elemental:
            raise ValueError(
                f"`properties` has vacancies and surfaces, which need a crystal of one element, not "
                f"{found.crystal.formula}."
            )
        return found

    def check_files(self) -> None:
        """Refuse files that are not there.

        Raises:
            FileNotFoundError: naming the first
        """
        starts = self.stability.starts if self.stability else {}
        files = {f"stability.starts.{name}.file": start.file for name, start in starts.items()}
        files["plan.source_data"] = self.plan.source_data if self.plan else None
        for key, file in files.items():
            if file is not None and not Path(file).is_file():
                raise FileNotFoundError(
                    f"`{key}` names {file!r}, which does not exist (relative paths start from {Path.cwd()})."
                )


def without_sizes(settings: Any) -> dict[str, Any]:
    """The settings of a part that its results depend on: all but which models are evaluated."""
    return {name: value for name, value in asdict(settings).items() if name != "sizes"}


def _crystal(value: Any) -> Crystal:
    entry = entries_of("crystal", value, ("structure", "formula", "a"), required=("structure", "formula", "a"))
    return Crystal(entry["structure"], entry["formula"], _positive("crystal.a", entry["a"]))


def _reference(value: Any) -> Reference:
    entry = entries_of("reference", value, _names(Reference))
    calculator = entry.get("calculator")
    if calculator is not None and not (isinstance(calculator, Mapping) and "_target_" in calculator):
        raise ValueError(
            "`reference.calculator` must describe an ASE calculator, as in {_target_: ase.calculators.emt.EMT}, found "
            f"{calculator!r}."
        )
    values = entries_of("reference.values", entry.get("values", {}), tuple(VALUES))
    return Reference(calculator, {name: _number(f"reference.values.{name}", item) for name, item in values.items()})


def _properties(value: Any) -> PropertySettings:
    entry = entries_of(PROPERTIES, value, _names(PropertySettings))
    for key in ("supercell", "phonon_supercell"):
        if key in entry:
            _count(f"properties.{key}", entry[key])
    if "surfaces" in entry:
        entry["surfaces"] = tuple(_miller(item) for item in _list("properties.surfaces", entry["surfaces"]))
    return PropertySettings(**entry | _sizes(PROPERTIES, entry))


def _stability(value: Any) -> StabilitySettings:
    entry = entries_of(STABILITY, value, (*_names(StabilitySettings), "temperatures"), required=("starts",))
    temperatures = entry.pop("temperatures", None)
    for key in ("runs", "supercell"):
        if key in entry:
            _count(f"stability.{key}", entry[key])
    for key in ("time", "timestep"):
        if key in entry:
            entry[key] = _positive(f"stability.{key}", entry[key])
    for key, choices in (("ensemble", (NVT, NPT)), ("engine", (EAGER, AOTINDUCTOR))):
        if entry.get(key, choices[0]) not in choices:
            raise ValueError(f"`stability.{key}` is {entry[key]!r}: choose {' or '.join(choices)}.")
    if "criteria" in entry:
        criteria = entries_of("stability.criteria", entry["criteria"], _names(Criteria))
        entry["criteria"] = Criteria(**{k: _positive(f"stability.criteria.{k}", v) for k, v in criteria.items()})
    starts = entry["starts"]
    if isinstance(starts, list):
        starts = dict.fromkeys(starts)
    if not isinstance(starts, Mapping) or not starts:
        raise ValueError(f"`stability.starts` must name where simulations begin, found {starts!r}.")
    entry["starts"] = {str(name): _md_start(str(name), item, temperatures) for name, item in starts.items()}
    return StabilitySettings(**entry | _sizes(STABILITY, entry))


def _md_start(name: str, value: Any, temperatures: Any) -> MDStart:
    key = f"stability.starts.{name}"
    entry = entries_of(key, value or {}, _names(MDStart))
    if "file" not in entry and name not in (CRYSTAL, VACANCY):
        raise ValueError(f"`{key}` needs `file`, structures to begin with; only {CRYSTAL} and {VACANCY} are built.")
    if not name.isidentifier():
        raise ValueError(f"`stability.starts` has the name {name!r}: use letters, digits and underscores.")
    found = entry.pop("temperatures", temperatures)
    if found is None:
        raise ValueError(f"`{key}` needs `temperatures` in K, there or for all starts in `stability.temperatures`.")
    return MDStart(tuple(_positive(f"{key}.temperatures", t) for t in _list(f"{key}.temperatures", found)), **entry)


def _plan(value: Any) -> PlanSettings:
    entry = entries_of(PLAN, {} if value is True else value, _names(PlanSettings))
    return PlanSettings(**entry | _sizes(PLAN, entry))


def _sizes(part: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry ``sizes``, validated."""
    if "sizes" not in entry:
        return {}
    sizes = _list(f"{part}.sizes", entry["sizes"])
    return {"sizes": tuple(size if size == ALL else _count(f"{part}.sizes", size) for size in sizes)}


def _names(kind: type) -> tuple[str, ...]:
    return tuple(entry.name for entry in fields(kind))


def entries_of(key: str, value: Any, choices: Sequence[str], required: Sequence[str] = ()) -> dict[str, Any]:
    """A mapping with some of the keys ``choices`` and all of ``required``; entries that are null are left out."""
    if not isinstance(value, Mapping):
        raise ValueError(f"`{key}` must be a mapping with {', '.join(choices)}, found {value!r}.")
    for name in value:
        if name not in choices:
            raise ValueError(f"`{key}` has no key {name!r}{suggest(str(name), choices)}.")
    for name in required:
        if value.get(name) is None:
            raise ValueError(f"`{key}` needs `{name}`.")
    return {name: item for name, item in value.items() if item is not None}


def _list(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"`{key}` must be a list with at least one entry, found {value!r}.")
    return value


def _count(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{key}` has {value!r}: integers of at least 1 are needed.")
    return value


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{key}` must be a number, found {value!r}.")
    return float(value)


def _positive(key: str, value: Any) -> float:
    if not _number(key, value) > 0:
        raise ValueError(f"`{key}` must be positive, found {value!r}.")
    return float(value)


def _miller(value: Any) -> str:
    if str(value) not in SURFACES:
        raise ValueError(f"`properties.surfaces` has {value!r}: choose from {', '.join(SURFACES)}.")
    return str(value)
