"""Imports inside the package point one way (see ``docs``: from the key to the look-ups)."""

import ast
from pathlib import Path

import nequip_elemtransfer

PACKAGE = Path(nequip_elemtransfer.__file__).parent
NAME = "nequip_elemtransfer"

# Each may import those before it.
CORE = [
    "config",
    "periodic_table",
    "element_map",
    "architecture",
    "trained_options",
    "per_type",
    "remap",
    "probe",
    "frames",
    "fit",
    "scaling",
    "zero_shot",
    "legacy",
    "source",
    "receipt",
    "transfer",
    "model",
    "resolvers",
]
# They may import the core, and nothing in the core imports them.
OUTSIDE = {"atomic_files", "cli", "data", "deploy", "extras", "materials", "plan", "report_page", "study", "train"}


def modules():
    """Dotted name inside the package -> path, the package's own ``__init__`` left out."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts:
            found[".".join(parts)] = path
    return found


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
    """The first part of a name; the command line of a room is where all commands are."""
    return "cli" if module.endswith(".cli") else module.split(".")[0]


def test_every_module_has_a_place():
    assert {room(module) for module in modules()} - {"__main__"} <= {*CORE, *OUTSIDE}
    assert set(CORE) <= set(modules())


def test_core_imports_point_one_way():
    wrong = {
        (module, other)
        for module, path in modules().items()
        if room(module) in CORE
        for other in imported(path)
        if room(other) not in CORE[: CORE.index(room(module))] and room(other) != room(module)
    }
    assert wrong == set()


def test_imports_are_seen():
    """The reader of imports finds what is known to be there."""
    assert {"config", "source", "transfer"} <= imported(modules()["resolvers"])
    assert {"architecture", "fit", "scaling"} <= imported(modules()["transfer"])  # from the package itself too
    assert imported(PACKAGE / "__init__.py") == {"resolvers"}  # inside a function
    assert imported(modules()["config"]) == set()
    assert "data" in imported(modules()["cli"])


def test_no_cycles():
    graph = {module: imported(path) - {module} for module, path in modules().items()}
    while free := {module for module, others in graph.items() if not others}:
        graph = {module: others - free for module, others in graph.items() if module not in free}
    assert graph == {}


def test_only_the_entry_point_imports_late():
    """A lazy import hides a cycle; the look-ups are late because NequIP runs the package at every start."""
    late = set()
    for module, path in modules().items():
        if room(module) not in CORE:
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                late |= {
                    module for node in ast.walk(function) if isinstance(node, (ast.Import, ast.ImportFrom))
                }
    assert late == set()


def test_no_module_is_called_by_a_name_that_says_nothing():
    parts = {part for module in modules() for part in module.split(".")}
    assert parts & {"utils", "util", "helpers", "helper", "tools", "misc", "common"} == set()
