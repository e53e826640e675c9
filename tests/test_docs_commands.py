"""What README and docs tell a reader to type: commands parse, configs are what they name, code imports what there is.

Nothing is run here. ``tests/training/test_example_configs.py`` runs the example configs and the code that needs models.
"""

import argparse
import ast
import importlib
import inspect
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from nequip.scripts import compile as nequip_compile
from nequip.scripts import package as nequip_package
from omegaconf import OmegaConf

from nequip_elemtransfer import cli
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.deploy import cli as deploy_cli
from nequip_elemtransfer.key.look_ups import LOOK_UPS
from nequip_elemtransfer.study.config.study_file import StudyConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "example_configs"
STUDIES = ROOT / "evidence" / "studies"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted((ROOT / "evidence").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Programs of others, whose options are theirs to say.
OTHERS = {".", "./patch_lammps.sh", "build", "cat", "cd", "cmake", "git"}
OTHERS |= {"lammps/build/lmp", "lmp", "mace_run_train", "mpirun"}
OTHERS |= {"ase", "pre-commit", "sevenn"}
OTHERS |= {"export", "set", "source"}
# What a part of a config without `_target_` is for.
NOT_INSTALLED = {"sevenn"}  # calculators that a user may bring
PARTS = {"trainer": "lightning.Trainer", "training_module": "nequip.train.EMALightningModule"}


def blocks(language):
    """The fenced blocks of a language, each with the file and line at which it begins."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield pytest.param(found[1], id=f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 1}")


def example_heads():
    """The commands in the comment that an example config, or that of a study told in docs, begins with."""
    for path in [*sorted(EXAMPLES.glob("*.yaml")), *sorted(STUDIES.glob("*/study.yaml"))]:
        head = re.match(r"(?:#.*\n)+", path.read_text(encoding="utf-8"))[0]
        lines = [line.removeprefix("#   ") for line in head.splitlines() if line.startswith("#   ")]
        script = "\n".join(line for line in lines if not line.startswith("("))
        yield pytest.param(script, id=f"{path.parent.name}/{path.name}")


def scripts():
    """Shell scripts that docs show."""
    for path in [*sorted(EXAMPLES.glob("*.sh")), ROOT / "docs" / "tutorial" / "main_path.sh"]:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        yield pytest.param("\n".join(line.partition("   #")[0] for line in lines), id=path.name)


def commands(script):
    """The words of each command of a shell script; a loop counts as its first round."""
    aliases, loop = {}, ("$", "$")
    for line in script.replace("\\\n", " ").splitlines():
        for words in split(line, "&&", ";"):
            while words and (re.match(r"\w+=", words[0]) or words[0] in ("do", "done")):
                words = words[1:]
            if not words:
                continue
            if words[0] == "for":
                loop = (f"${words[1]}", words[3])
                continue
            if words[0] == "alias":
                name, _, meaning = words[1].partition("=")
                aliases[name] = shlex.split(meaning)
                continue
            yield [word.replace(*loop) for word in [*aliases.get(words[0], words[:1]), *words[1:]]]


def split(line, *separators):
    parser = shlex.shlex(line, posix=True, punctuation_chars=";&>")
    parser.whitespace_split = True
    words, found = list(parser), [[]]
    for word in words[: words.index(">")] if ">" in words else words:
        if word in separators:
            found.append([])
        else:
            found[-1].append(word)
    return found


class Parsed(Exception):
    """Raised once a command has read its arguments."""


def parse_only(monkeypatch, main, argv):
    """Let a command read its arguments by its own parser, and nothing more."""
    parse = argparse.ArgumentParser.parse_args

    def parse_args(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    with pytest.raises(Parsed):
        main(argv)


def check_nequip_train(argv):
    """Hydra composes the config with the overrides, which refuses a name that the config does not have."""
    options, overrides = {}, []
    words = iter(argv)
    for word in words:
        if word in ("-cp", "-cn"):
            options[word] = next(words)
        elif word != "--multirun":
            overrides.append(word)
    assert options.get("-cp") in ("$PWD/example_configs", "$PWD/DIR/grid", "$PWD/plan", "$PWD/races/ge")
    if options["-cp"] != "$PWD/example_configs":
        return  # written by a study, a plan or a race, which tests/training run so
    parsed = OverridesParser.create().parse_overrides(overrides)
    single = [
        f"{change.get_key_element()}={next(change.sweep_string_iterator())}"
        if change.is_sweep_override()
        else change.input_line
        for change in parsed
    ]
    with initialize_config_dir(str(EXAMPLES), version_base=None):
        compose(options["-cn"], single, return_hydra_config=True)


def check_python(monkeypatch, argv):
    path = ROOT / argv[0]
    assert path.is_file()
    monkeypatch.setattr(sys, "argv", [str(path), *argv[1:]])
    monkeypatch.syspath_prepend(str(path.parent))
    main = runpy.run_path(str(path))["main"]
    parse_only(monkeypatch, lambda argv: main(), argv)


def check_make(argv):
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets, variables = re.findall(r"^(\w+):", text, re.MULTILINE), re.findall(r"\$\((?:if \$\()?(\w+)", text)
    for word in argv:
        name, is_variable, _ = word.partition("=")
        assert name in (variables if is_variable else targets)


def check_pip(argv):
    assert argv[0] == "install"
    for word in argv[1:]:
        name, _, extras = word.rstrip("]").partition("[")
        assert name in (".", PROJECT["project"]["name"])
        assert set(filter(None, extras.split(","))) <= set(PROJECT["project"]["optional-dependencies"])


def check_pytest(argv):
    words = iter(argv)
    markers = {marker.split(":")[0] for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    for word in words:
        if word == "-m":
            assert next(words) in markers
        elif word == "-k":
            name, tests = next(words), (ROOT / "tests").rglob("test_*.py")
            assert any(re.search(rf"def test_\w*{name}", path.read_text(encoding="utf-8")) for path in tests)
        else:
            assert (ROOT / word).exists()


def check(monkeypatch, words):
    if words[0] == "srun":  # starts what follows, on each node
        words = words[1:]
    program, argv = Path(words[0]).name if words[0].startswith(".venv/") else words[0], words[1:]
    if program == "python" and argv[0] == "-m":
        program, argv = argv[1], argv[2:]
    parsers = {
        "nequip-elemtransfer": cli.main,
        "nequip-deploy": deploy_cli.main,
        "nequip-package": nequip_package.main,
        "nequip-compile": nequip_compile.main,
    }
    checks = {"nequip-train": check_nequip_train, "make": check_make, "pip": check_pip, "pytest": check_pytest}
    if program == "nequip_elemtransfer.study.measure.job":  # of a prepared study, as tests/training runs it
        assert callable(importlib.import_module(program).main)
        assert argv[:4] == ["-cp", "$PWD/DIR/grid", "-cn", "evaluations"]
    elif program in parsers:
        parse_only(monkeypatch, parsers[program], argv)
    elif program == "python":
        check_python(monkeypatch, argv)
    elif program in checks:
        checks[program](argv)
    else:
        assert program in OTHERS, f"nobody knows the program {program}"


@pytest.mark.parametrize("script", [*blocks("bash"), *example_heads(), *scripts()])
def test_commands_parse(script, monkeypatch):
    for words in commands(script):
        with monkeypatch.context() as patch:
            check(patch, words)


@pytest.mark.parametrize(
    "wrong",
    [
        "nequip-deploy build --modell si.ckpt si.nequip.pth",
        "nequip-elemtransfer data sw --out data/sw --n-train 10 --unheard-of",
        'nequip-train -cp "$PWD/example_configs" -cn sw_si max_stepps=3',
        'nequip-train -cp "$PWD/example_configs" -cn no_such_config',
        "python evidence/benchmarks/deployed_cost.py a.ckpt --repeat-s 5",
        "python evidence/benchmarks/no_such_file.py",
        "make tests",
        "pip install '.[no_such_extra]'",
        "no-such-program",
    ],
)
def test_wrong_commands_are_noticed(wrong, monkeypatch):
    with pytest.raises((Exception, SystemExit)) as caught, monkeypatch.context() as patch:
        for words in commands(wrong):
            check(patch, words)
    assert not isinstance(caught.value, Parsed)


def check_part(name, value):
    """A part of a config: its ``_target_`` is there, and takes the entries as arguments."""
    if isinstance(value, list):
        for entry in value:
            check_part(name, entry)
    if not isinstance(value, dict):
        return
    target = value.get("_target_", PARTS.get(name))
    if str(target).partition(".")[0] in NOT_INSTALLED:
        return
    if target is not None:
        called = inspect.signature(get_object(target)).parameters
        own = {"_target_"} | ({"param_groups"} if name == "optimizer" else set())  # NequIP takes these itself
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in called.values())
        assert takes_any or set(value) - own <= set(called), f"{target} takes {', '.join(called)}"
    for key, entry in value.items():
        check_part(key, entry)


def check_study(entries, folder, monkeypatch):
    """Entries in place of those of a study that there is; the files it names are made, with nothing in them."""
    study = yaml.safe_load((EXAMPLES / "study_mlearn_full.yaml").read_text(encoding="utf-8")) | entries
    beginnings = [entry for entry in study["stability"]["starts"].values() if entry]
    for file in [entry["file"] for entry in beginnings if "file" in entry] + [study["plan"]["source_data"]]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    for path in [*EXAMPLES.glob("*.yaml"), folder / "my_finetuning.yaml"]:
        (folder / path.name).touch()
    monkeypatch.chdir(folder)
    StudyConfig.from_mapping(study, folder)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_configs_name_what_there_is(text, tmp_path, monkeypatch):
    config = OmegaConf.to_container(OmegaConf.create(text))
    for name in re.findall(r"\$\{element_transfer:(\w+)\}", text):
        assert name in LOOK_UPS
    if "element_transfer" in config:
        TransferConfig.from_mapping(config["element_transfer"])
    if {"starts", "stability"} & set(config):
        check_study(config, tmp_path, monkeypatch)
        return
    known = {"element_transfer"} | {
        key
        for path in EXAMPLES.glob("*.yaml")
        if not path.name.startswith("study")
        for key in yaml.safe_load(path.read_text(encoding="utf-8"))
    }
    if "_target_" not in config:
        assert set(config) <= known
    check_part("", config)


WRITTEN = sorted([*STUDIES.glob("*/study.yaml"), *STUDIES.parent.glob("not_run/*/study.yaml")])


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.parent.name)
def test_studies_of_results_are_what_a_study_takes(path, tmp_path, monkeypatch):
    """In a folder where the data that it names were made, with nothing in them."""
    for file in re.findall(r"\bdata/\w+/\w+\.xyz", path.read_text(encoding="utf-8")):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    assert StudyConfig.from_file(path).arms
    assert (path.parent / "report.json").is_file() == (path.parents[1] == STUDIES)


@pytest.mark.parametrize("code", blocks("python"))
def test_code_imports_what_there_is(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?:example_configs|docs|evidence|benchmarks|demo|tests)/[\w/.]+\.(?:yaml|py)", text):
        assert (ROOT / name).is_file(), name


def test_every_example_config_is_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {path.name for path in EXAMPLES.glob("*.yaml")} <= set(re.findall(r"\w+\.yaml", text))
