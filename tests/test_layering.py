"""The layout: imports point one way, rooms know what is below them, files are short, names mean one thing."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import nequip_elemtransfer

PACKAGE = Path(nequip_elemtransfer.__file__).parent
NAME = "nequip_elemtransfer"

# Each may import those before it.
CORE = [
    "config",
    "nequip_names",
    "periodic_table",
    "element_map",
    "lengths",
    "refusal",
    "model_options",
    "architecture",
    "consistency",
    "trained_options",
    "per_type",
    "remap",
    "probe",
    "labels",
    "frame_checks",
    "frames",
    "fit",
    "label_checks",
    "scaling",
    "parts",
    "zero_shot",
    "length_search",
    "length_choice",
    "archive",
    "callables",
    "transfer_record",
    "file_kind",
    "migration",
    "checkpoint",
    "package",
    "model_section",
    "checkpoint_model",
    "nequip_loader",
    "legacy",
    "source",
    "target",
    "energies",
    "provenance",
    "target_structures",
    "receipt",
    "transfer",
    "model",
    "resolvers",
]
# Room -> what its modules may import besides each other; "core" is the list above.
ROOMS = {
    "extras": set(),
    "output": {"extras"},
    "core": {"extras", "output"},
    "materials": {"extras"},
    "data": {"extras", "output"},
    "deploy": {"core", "extras", "output"},
    "train": {"core", "output"},
    "calculators": {"materials", "output"},
    "plan": {"calculators", "core", "extras", "materials", "output"},
    "candidates": {"core", "materials", "output", "plan"},
    "labelling": {"calculators", "materials", "output", "plan"},
    "selection": {"core", "extras", "output", "plan"},
    "study": {"core", "extras", "materials", "output", "plan"},
    "inspect_cli": {"core", "plan"},
    "import_cli": {"core", "output"},
    "training_checks": {"core"},
    "cli": {"core", "data", "import_cli", "inspect_cli", "output"}
    | {"candidates", "labelling", "plan", "selection", "study"},
}
# Inside a room, each may import those before it.
INSIDE = {
    "output": ["arguments", "locks", "processes", "atomic", "table", "page"],
    "study": [
        "property_names",
        "config",
        "folder",
        "structure_files",
        "grid",
        "run",
        "measure",
        "report",
        "study",
        "cli",
    ],
}
# What the data suffice for is asked without a plan: of its room, only these may be imported.
BELOW_PLAN = ("plan.data.", "plan.environments")
# Programs, which nothing imports.
SCRIPTS = {"calculators.worker", "deploy.worker", "study.measure.job", "study.measure.worker"}

MOST_LINES, MOST_LINES_OF_A_FUNCTION = 350, 60
SHORT_TOO = [PACKAGE.parent / name for name in ("tests", "docs", "demo", "benchmarks")]
# The same thing of every command, of every module that logs, of every data set.
ONE_EACH = {"main", "logger"}
DATA_SETS = {
    "data.emt",
    "data.mlearn",
    "data.nbmotaw",
    "data.stillinger_weber",
    "data.xtb",
    "data.sampled",
    "data.sampling",
}


@cache
def modules():
    """Dotted name inside the package -> path, the package's own ``__init__`` left out."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts:
            found[".".join(parts)] = path
    return found


@cache
def imported(path):
    """Modules of the package that a file imports anywhere, inside functions as well."""
    package = [NAME, *path.relative_to(PACKAGE).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from ..a import b` is relative to the package that holds the file, or its parents
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    known = modules()
    return {name.removeprefix(f"{NAME}.") for name in names if name.removeprefix(f"{NAME}.") in known}


def room(module):
    first = module.split(".")[0]
    return "core" if first in CORE else first


def test_every_module_has_a_place():
    assert {room(module) for module in modules()} == set(ROOMS)
    assert set(CORE) <= set(modules())
    for name, order in INSIDE.items():
        assert {module.split(".")[1] for module in modules() if module.startswith(f"{name}.")} == set(order)


def test_rooms_import_what_is_below_them():
    wrong = {
        (module, other)
        for module, path in modules().items()
        for other in imported(path)
        if room(other) not in ROOMS[room(module)] | {room(module)}
    }
    assert wrong == set()


def test_core_imports_point_one_way():
    def place(module):
        return CORE.index(module.split(".")[0])

    wrong = {
        (module, other)
        for module, path in modules().items()
        if room(module) == "core"
        for other in imported(path)
        # inside legacy/ any order; test_no_cycles sees to the rest
        if room(other) == "core" and place(other) >= place(module) and other.split(".")[0] != module.split(".")[0]
    }
    assert wrong == set()


@pytest.mark.parametrize("name", INSIDE)
def test_imports_inside_a_room_point_one_way(name):
    place = {f"{name}.{part}": i for i, part in enumerate(INSIDE[name])}

    def position(module):
        return place[".".join(module.split(".")[:2])]

    members = [module for module in modules() if module.startswith(f"{name}.")]
    wrong = {
        (module, other)
        for module in members
        for other in imported(modules()[module])
        if other in members and position(other) > position(module)
    }
    assert wrong == set()


def test_what_the_data_suffice_for_needs_no_plan():
    wrong = {
        (module, other)
        for module, path in modules().items()
        if module.startswith("plan.data")
        for other in imported(path)
        if room(other) == "plan" and not other.startswith(BELOW_PLAN)
    }
    assert wrong == set()


def test_nothing_imports_a_script():
    everything = {other for path in modules().values() for other in imported(path)}
    assert SCRIPTS <= set(modules()) and not everything & SCRIPTS


def test_imports_are_seen():
    """The reader of imports finds what is known to be there."""
    assert {"config", "source", "transfer"} <= imported(modules()["resolvers"])
    assert {"architecture", "fit", "scaling"} <= imported(modules()["transfer"])  # from the package itself too
    assert imported(PACKAGE / "__init__.py") == {"resolvers", "train"}  # inside a function
    assert imported(modules()["config"]) == set()
    assert "data.cli" in imported(modules()["cli"])


def test_no_cycles():
    graph = {module: imported(path) - {module} for module, path in modules().items()}
    while free := {module for module, others in graph.items() if not others}:
        graph = {module: others - free for module, others in graph.items() if module not in free}
    assert graph == {}


def test_only_the_entry_point_imports_late():
    """A lazy import hides a cycle; the look-ups are late because NequIP runs the package at every start."""
    late = set()
    for module, path in modules().items():
        if room(module) != "core":
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                late |= {module for node in ast.walk(function) if isinstance(node, (ast.Import, ast.ImportFrom))}
    assert late == set()


def test_no_module_is_called_by_a_name_that_says_nothing():
    parts = {part for module in modules() for part in module.split(".")}
    assert parts & {"utils", "util", "helpers", "helper", "tools", "misc", "common"} == set()


def test_files_and_functions_are_short():
    files = [path for folder in (PACKAGE, *SHORT_TOO) for path in folder.rglob("*.py") if "_build" not in path.parts]
    too_long = set()
    for path in files:
        text, name = path.read_text(encoding="utf-8"), path.relative_to(PACKAGE.parent).as_posix()
        if text.count("\n") > MOST_LINES:
            too_long.add(name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION:
                too_long.add(f"{name}: {node.name}")
    assert too_long == set()


def public_names(path):
    """Functions, classes and constants that a file defines for others."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_no_two_things_have_one_name():
    owners = defaultdict(set)
    for module, path in modules().items():
        for name in public_names(path) - ONE_EACH:
            owners[name].add(module)
    shared = {name for name, found in owners.items() if len(found) > 1 and not found <= DATA_SETS}
    assert shared == set()


def test_public_names_are_seen():
    assert {"CORE", "modules", "public_names", "MOST_LINES"} <= public_names(Path(__file__))
