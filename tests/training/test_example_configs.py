"""Each example config runs as it stands, on tiny data, for two epochs; the baselines are fair."""

import json
import re
from pathlib import Path

import ase.io
import pytest
import torch
import yaml
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.symbols import string2symbols
from commands import run
from real_runs import structures
from studies import run_study

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.deploy.cli import main as deploy_main
from nequip_elemtransfer.study.config.study_file import CORRESPONDING_STATES, SCRATCH

CONFIGS = Path(__file__).resolve().parents[2] / "example_configs"
SHORT = ["++trainer.max_epochs=2", "++trainer.check_val_every_n_epoch=1", "trainer.log_every_n_steps=1"]

# source, target
ELEMENTS = {
    "sw": ("Si", "Ge"),
    "mlearn": ("Si", "Ge"),
    "emt": ("Cu", "Ag"),
    "nbmotaw": ("Mo", "W"),
    "xtb": ("Si", "Ge"),
}
KEPT = {"xtb": {"H": "H", "C": "C"}}
ALLOY = "MoW"
# metals that stand for others here: the generated ones need no download
STAND_INS = {"Cu": "Mo", "Ag": "W"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder in which the commands in the configs' first lines have been run, with tiny data."""
    folder = tmp_path_factory.mktemp("examples")
    for kind, elements in ELEMENTS.items():
        data = folder / "data" / kind
        data.mkdir(parents=True)
        for element in (*elements, ALLOY) if kind == "nbmotaw" else elements:
            for seed, part in enumerate(("train", "val", "test", "train_10")):
                n = 10 if part == "train_10" else 4
                ase.io.write(data / f"{element}_{part}.xyz", FRAMES[kind](element, n, seed))
    return folder


def metal(system, n, seed):
    """Rattled, strained fcc cells of 4 atoms, the metals in turn, with the labels of ASE's effective medium theory."""
    symbols = string2symbols(system)
    frames = []
    for i in range(n):
        atoms = bulk(symbols[0], cubic=True)
        atoms.symbols[:] = [symbols[j % len(symbols)] for j in range(len(atoms))]
        atoms.set_cell(atoms.cell * (1 + 0.03 * (i % 3 - 1)), scale_atoms=True)
        atoms.rattle(0.12, seed=100 * seed + i)
        atoms.calc = EMT()
        labels = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        atoms.info["group"] = "fcc"
        frames.append(atoms)
    return frames


def renamed_metal(system, n, seed):
    """EMT's structures and labels under the names of the metals that the configs are for."""
    names = {name: stand_in for stand_in, name in STAND_INS.items()}
    frames = metal("".join(names[symbol] for symbol in string2symbols(system)), n, seed)
    for atoms in frames:
        results = atoms.calc.results
        atoms.symbols = [STAND_INS[symbol] for symbol in atoms.symbols]
        atoms.calc = SinglePointCalculator(atoms, **results)
    return frames


def molecules(element, n, seed):
    """Rattled molecules with an atom of the element, and the labels that `data xtb` gives, of another potential."""
    found = []
    for i in range(n):
        atoms = molecule(("CH3SiH3", "SiH4")[i % 2])
        atoms.symbols = [element if symbol == "Si" else symbol for symbol in atoms.symbols]
        atoms.rattle(0.03, seed=100 * seed + i)
        atoms.calc = LennardJones(sigma=1.2, epsilon=0.3, rc=4.0, smooth=True)
        atoms.get_potential_energies()
        labels = {name: atoms.calc.results[name] for name in ("energy", "energies", "forces")}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        atoms.info = {"group": "alkyl", "molecules": "seen" if i % 2 else "unseen"}
        found.append(atoms)
    return found


FRAMES = {"sw": structures, "mlearn": structures, "emt": metal, "nbmotaw": renamed_metal, "xtb": molecules}


def nequip_train(folder, name):
    out = folder / "runs" / name
    run("nequip-train", "-cp", CONFIGS, "-cn", name, f"hydra.run.dir={out}", *SHORT, cwd=folder)
    return torch.load(out / "best.ckpt", weights_only=True)


@pytest.mark.parametrize("kind", ELEMENTS)
def test_configs_run_in_order(workplace, kind):
    source, target = ELEMENTS[kind]
    trained = nequip_train(workplace, f"{kind}_{source.lower()}")
    transfer = nequip_train(workplace, f"{kind}_{target.lower()}_transfer")
    scratch = nequip_train(workplace, f"{kind}_{target.lower()}_scratch")
    elements = KEPT.get(kind, {}) | {target: source}
    assert transfer["hyper_parameters"]["model"]["provenance"]["elements"] == elements
    shapes = [
        {
            name: value.shape
            for name, value in saved["state_dict"].items()
            # where types are kept, each pair gets a cutoff of its own, and each type a scale
            if isinstance(value, torch.Tensor) and not (kind in KEPT and name.endswith(("_rmax_recip", "scales")))
        }
        for saved in (trained, transfer, scratch)
    ]
    assert len(shapes[0]) > 40
    assert shapes[0] == shapes[1] == shapes[2]


def test_molecules_are_planned_deployed_and_studied(workplace, monkeypatch, capsys):
    """No cell and no stress on any path, hydrogen and carbon kept; after ``xtb_si`` and ``xtb_ge_transfer``."""
    for name in ("xtb_si", "xtb_ge_transfer"):
        if not (workplace / "runs" / name / "best.ckpt").exists():
            nequip_train(workplace, name)
    monkeypatch.chdir(workplace)
    source, data = "runs/xtb_si/best.ckpt", Path("data/xtb")
    planned = ["plan", source, str(data / "Ge_train.xyz"), "--elements", "Ge=Si"]
    assert main([*planned, "--source-data", str(data / "Si_train.xyz")]) == 0
    said = capsys.readouterr().out
    assert "No structure has stresses" in said and re.search(r"^C +C +1\.0000 +1\.0000 ", said, re.MULTILINE)
    deployed = workplace / "ge.nequip.pth"
    assert deploy_main(["build", "--model", "runs/xtb_ge_transfer/best.ckpt", str(deployed)]) == 0
    assert deployed.is_file() and "two copies" in capsys.readouterr().out
    joined = nequip_train(workplace, "xtb_ge_replay")["hyper_parameters"]["model"]["provenance"]
    assert joined["elements"] == {"H": "H", "C": "C", "Si": "Si", "Ge": "Si"}
    study = yaml.safe_load((CONFIGS / "study_xtb.yaml").read_text())
    for seed in study["seeds"]:
        (data / f"subset{seed}").mkdir()
        (data / f"subset{seed}" / "Ge_train.xyz").write_bytes((data / "Ge_train_10.xyz").read_bytes())
    (data / "Ge_both.xyz").write_bytes((data / "Ge_test.xyz").read_bytes() + (data / "Ge_val.xyz").read_bytes())
    study |= {name: str(CONFIGS / study[name]) for name in ("scratch", "transfer")}
    starts = {name: study["starts"][name] for name in (SCRATCH, CORRESPONDING_STATES)}
    study |= {"sizes": [10], "seeds": [0], "starts": starts}
    study |= {"overrides": ["max_steps=4"], "validate_every": 2}
    for name in ("molecules", "reference", "properties", "plan"):  # of which the first three need xTB
        del study[name]
    Path("study.yaml").write_text(yaml.safe_dump(study))
    assert run_study("study.yaml", "study")[0] == 0
    report = json.loads(Path("study/report.json").read_text())
    assert {curve["start"] for curve in report["curves"]} == set(study["starts"])
    for curve in report["curves"]:
        assert set(curve["test_sets"]) == {"all", "seen", "unseen"}
        for (point,) in curve["test_sets"].values():
            assert set(point["errors"]) == {"forces_mae", "per_atom_energy_mae"}


def test_an_alloy_from_one_of_its_metals(workplace):
    """After ``nbmotaw_mo``, as its first lines say."""
    if not (workplace / "runs" / "nbmotaw_mo" / "best.ckpt").exists():
        nequip_train(workplace, "nbmotaw_mo")
    alloy = nequip_train(workplace, "nbmotaw_mow_transfer")
    assert alloy["hyper_parameters"]["model"]["provenance"]["elements"] == {"Mo": "Mo", "W": "Mo"}


def test_a_teacher_and_then_dft(workplace):
    """After ``mlearn_si`` and the labels of a teacher, as their first lines say."""
    if not (workplace / "runs" / "mlearn_si" / "best.ckpt").exists():
        nequip_train(workplace, "mlearn_si")
    (workplace / "ge").mkdir()
    for name, n in (("teacher", 8), ("teacher_val", 2)):
        ase.io.write(workplace / "ge" / f"{name}.xyz", structures("Ge", n, seed=7))
    taught = nequip_train(workplace, "mlearn_ge_taught")
    tuned = nequip_train(workplace, "mlearn_ge_after_teacher")
    first, second = (saved["hyper_parameters"]["model"]["provenance"] for saved in (taught, tuned))
    assert (first["elements"], first["source"]) == ({"Ge": "Si"}, "runs/mlearn_si/best.ckpt")
    assert (second["elements"], second["source"]) == ({"Ge": "Ge"}, "runs/mlearn_ge_taught/best.ckpt")


def test_fine_tuning_and_replay(workplace):
    """After ``sw_si``, as their first lines say."""
    if not (workplace / "runs" / "sw_si" / "best.ckpt").exists():
        nequip_train(workplace, "sw_si")
    tuned = nequip_train(workplace, "sw_ge_finetune")
    assert [group["name"] for group in tuned["optimizer_states"][0]["param_groups"]] == [
        "type_rows",
        "interactions.0",
        "radial_networks",
        "interactions.1",
        "readout",
    ]
    replayed = nequip_train(workplace, "sw_ge_replay")
    assert replayed["hyper_parameters"]["model"]["provenance"]["elements"] == {"Ge": "Si", "Si": "Si"}
    assert replayed["global_step"] == 2 * 20 / 5  # 10 structures of each in an epoch


@pytest.mark.parametrize("page", ["finetune", "key", "plan"])
def test_code_on_the_pages_runs(workplace, page, monkeypatch, capsys):
    """Where the pages' commands have been run: on the files that they name."""
    runs = workplace / "runs"
    for name in {"finetune": ["sw_si"], "key": ["mlearn_si", "mlearn_ge_transfer"], "plan": ["mlearn_si"]}[page]:
        if not (runs / name / "best.ckpt").exists():
            nequip_train(workplace, name)
    if page == "key":
        (runs / "mlearn_ge").symlink_to(runs / "mlearn_ge_transfer")
    monkeypatch.chdir(workplace)
    (path,) = (CONFIGS.parent / "docs").glob(f"*/{page}.md")
    text = path.read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(compile(code, f"{page}.md", "exec"), {})
    if page == "finetune":
        assert len(ase.io.read("data/Si_labelled.xyz", ":")) == 40
    elif page == "key":
        assert "Ge" in capsys.readouterr().out  # its α
    else:
        assert {path.name for path in (workplace / "plans" / "ge").iterdir()} >= {"report.html", "train.yaml"}


@pytest.mark.parametrize("kind", ELEMENTS)
def test_scratch_is_a_fair_baseline(kind):
    """Same data, steps, loss and architecture; only the start and its learning rate differ."""
    source, target = (element.lower() for element in ELEMENTS[kind])
    trained, transfer, scratch = (
        yaml.safe_load((CONFIGS / f"{kind}_{name}.yaml").read_text())
        for name in (source, f"{target}_transfer", f"{target}_scratch")
    )
    for section in ("run", "trainer", "max_steps", "n_train", "seed", "data_dir"):
        assert transfer[section] == scratch[section]
    assert transfer["data"] == {k: v for k, v in scratch["data"].items() if k != "stats_manager"}
    for section in ("_target_", "ema_decay", "loss", "val_metrics", "lr_scheduler"):
        assert transfer["training_module"][section] == scratch["training_module"][section]
    assert trained["training_module"]["model"] == scratch["training_module"]["model"]
    assert scratch["cutoff_radius"] > trained["cutoff_radius"]
