"""A path that leads nowhere is told at once: before PyTorch is imported, whose import alone takes longer."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys, time
from pkgutil import resolve_name
code = resolve_name(sys.argv[1] + ":main")(sys.argv[2:])
print(code, time.process_time(), "torch" in sys.modules)
"""
TRANSFER, DEPLOY = "nequip_elemtransfer.cli", "nequip_elemtransfer.deploy.cli"
THERE, ELEMENTS = "there.xyz", ("--elements", "Ge=Si")


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        (TRANSFER, ["inspect", "no.ckpt"], "source 'no.ckpt' does not exist: give the path of a .ckpt file"),
        (TRANSFER, ["inspect", THERE, "--data", "no.xyz"], "'no.xyz' does not exist (relative paths start"),
        (TRANSFER, ["plan", "no.ckpt", THERE], "source 'no.ckpt' does not exist"),
        (TRANSFER, ["plan", THERE, "no.xyz"], "'no.xyz' does not exist"),
        (TRANSFER, ["plan", THERE, THERE, "--source-data", "no.xyz"], "'no.xyz' does not exist"),
        (TRANSFER, ["plan", THERE, "no.traj@-2:"], "'no.traj' does not exist"),
        (TRANSFER, ["plan", THERE, THERE, "--compare", "emt=no.yaml"], "'no.yaml' does not exist: give a YAML file"),
        (TRANSFER, ["race", THERE, "no.xyz", "--out", "r"], "'no.xyz' does not exist"),
        (TRANSFER, ["race", THERE, THERE, "--starts", "transfer", "other=no.ckpt", "--out", "r"], "'no.ckpt' does not"),
        (TRANSFER, ["candidates", "no.xyz", *ELEMENTS, "--out", "a.xyz"], "'no.xyz' does not exist"),
        (TRANSFER, ["candidates", THERE, *ELEMENTS, "--model", "no.ckpt", "--out", "a.xyz"], "source 'no.ckpt' does"),
        (TRANSFER, ["select", "no.xyz", "--model", THERE, *ELEMENTS, "--out", "a.xyz"], "'no.xyz' does not exist"),
        (TRANSFER, ["select", THERE, "--model", "no.ckpt", *ELEMENTS, "--out", "a.xyz"], "source 'no.ckpt' does not"),
        (TRANSFER, ["select", THERE, "--model", THERE, *ELEMENTS, "--out", THERE], "there.xyz exists already; force"),
        (TRANSFER, ["label", "no.xyz", "--calculator", THERE, "--out", "a.xyz"], "'no.xyz' does not exist"),
        (TRANSFER, ["label", THERE, "--calculator", "no.yaml", "--out", "a.xyz"], "'no.yaml' does not exist"),
        (TRANSFER, ["study", "run", "no.yaml", "--out", "st"], "the study 'no.yaml' does not exist"),
        (TRANSFER, ["study", "report", "no"], "no is no folder of a study: it has no study.json"),
        (TRANSFER, ["import", "no", "a.ckpt"], "source 'no' does not exist"),
        (TRANSFER, ["check", "-cp", "/no"], "-cp /no does not exist: give the folder of the config"),
        (TRANSFER, ["data", "mlearn", "--from", "no", "--out", "d"], "no/Si/training.json does not exist"),
        (DEPLOY, ["build", "--model", "no.ckpt", "a.nequip.pth"], "no.ckpt does not exist: give a .ckpt file"),
        (DEPLOY, ["build", "--train-dir", "no", "a.nequip.pth"], "--train-dir no does not exist: give the output"),
        (DEPLOY, ["info", "no.nequip.pth"], "no.nequip.pth does not exist: give a file that"),
        (DEPLOY, ["md", "no.nequip.pth", "diamond", "--temperature", "1", "--steps", "1"], "no.nequip.pth does not"),
        (DEPLOY, ["md", THERE, "no.xyz", "--temperature", "1", "--steps", "1"], "structure 'no.xyz' does not exist"),
    ],
)
def test_is_told_before_pytorch_is_imported(tmp_path, command, words, sentence):
    (tmp_path / THERE).touch()
    program = [sys.executable, "-W", "ignore", "-c", SCRIPT, command, *words]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert sentence in done.stderr
    code, seconds, imported = done.stdout.split()
    assert (code, imported) == ("2", "False") and float(seconds) < 1.5
    assert [path.name for path in tmp_path.iterdir()] == [THERE]
