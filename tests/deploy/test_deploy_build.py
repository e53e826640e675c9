"""``nequip-deploy build``: what is written is the model, and what cannot be is not written."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from commands import run
from deploy_refusal import refused
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.architecture.builders import build as build_model
from nequip_elemtransfer.deploy import build, export, verify, write
from nequip_elemtransfer.deploy.build import deploy
from nequip_elemtransfer.deploy.cli import main
from nequip_elemtransfer.deploy.deployed import neighbor_list, predict_graph
from nequip_elemtransfer.deploy.info import read_info
from nequip_elemtransfer.deploy.trained import TrainedModel
from nequip_elemtransfer.deploy.write import Recipe, write_and_verify
from nequip_elemtransfer.output import atomic


def test_command(ge_run, tmp_path):
    """The whole command, as a user runs it."""
    done = run(
        "nequip-deploy", "build", "--train-dir", ge_run, "ge.nequip.pth", "--lammps-input", "in.ge", cwd=tmp_path
    )
    assert done.stderr == ""
    assert "pair_coeff    * * ge.nequip.pth Ge" in done.stdout
    assert "one MPI rank" in done.stdout
    for structure in ("training structure", "dimer", "strained cell", "doubled cell"):
        assert structure in done.stdout
    assert {f.name for f in tmp_path.iterdir()} == {"ge.nequip.pth", "in.ge", "in.ge.data"}


@pytest.mark.parametrize("ending", [".nequip.pth", ".nequip.zip"])
def test_equals_the_evaluated_model(deployed, ge_run, data, ending):
    """The file computes what NequIP's own ASE calculator computes from the checkpoint."""
    results = []
    file = deployed("ge", ending)
    for load, path in [
        (NequIPCalculator.from_compiled_model if ending == ".nequip.pth" else NequIPCalculator._from_saved_model, file),
        (NequIPCalculator._from_saved_model, ge_run / "best.ckpt"),
    ]:
        atoms = ase.io.read(data / "Ge_val.xyz")
        atoms.calc = load(path, chemical_species_to_atom_type_map=True)
        results.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    for got, expected in zip(*results):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)


def test_from_a_package(deployed, tmp_path):
    """Its provenance comes along, and so does its example structure."""
    verdict = write_and_verify(Recipe(deployed("ge", ".nequip.zip")), tmp_path / "ge.nequip.pth")
    assert verdict.passed and not verdict.note
    info, package = read_info(tmp_path / "ge.nequip.pth"), read_info(deployed("ge", ".nequip.zip"))
    assert info["element_transfer"] == package["element_transfer"] is not None


def test_without_training_data(ge_run, tmp_path):
    """A checkpoint whose data are gone is verified on a made-up crystal, and the user is told."""
    checkpoint = torch.load(ge_run / "best.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["info_dict"]["data"]["train_file_path"] = "/nowhere/train.xyz"
    torch.save(checkpoint, tmp_path / "moved.ckpt")
    verdict = write_and_verify(Recipe(tmp_path / "moved.ckpt"), tmp_path / "ge.nequip.pth")
    assert verdict.passed
    assert "/nowhere/train.xyz" in verdict.note and "made-up crystal" in verdict.note


@pytest.mark.parametrize("ending", [".nequip.zip", ".nequip.lmp.pt"])
def test_a_package_needs_training_data(ge_run, tmp_path, ending):
    checkpoint = torch.load(ge_run / "best.ckpt", weights_only=True)
    for part in ("train", "val", "test"):
        checkpoint["hyper_parameters"]["info_dict"]["data"][f"{part}_file_path"] = f"nowhere/{part}.xyz"
    torch.save(checkpoint, tmp_path / "moved.ckpt")
    with pytest.raises(FileNotFoundError, match="packs a structure .* 'nowhere/.*xyz' does not exist: run the command"):
        write_and_verify(Recipe(tmp_path / "moved.ckpt"), tmp_path / f"ge{ending}")


def test_wrong_file_is_removed(si_run, tmp_path, monkeypatch, in_process, capsys):
    """An export that changes one weight is found out, though it changes it in the model it is given."""

    def export_another_model(model, *args):
        with torch.no_grad():
            model.get_parameter("model.func.type_embed.embed_module.weight").mul_(1.001)
        original(model, *args)

    original = export.write_torchscript
    monkeypatch.setattr(export, "write_torchscript", export_another_model)
    out = tmp_path / "si.nequip.pth"
    assert main(["build", "--model", str(si_run / "best.ckpt"), str(out)]) == 1
    assert "differs from its model" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_kept(ge_run, tmp_path, monkeypatch, in_process, capsys):
    out = tmp_path / "ge.nequip.pth"
    out.write_text("precious")
    assert "--force" in refused(capsys, "build", "--train-dir", ge_run, out)
    assert out.read_text() == "precious"
    monkeypatch.setattr(
        build, "_in_own_process", lambda r, staged, v: (staged.write_text("new"), write.Verdict("", True))[1]
    )
    deploy(Recipe(ge_run / "best.ckpt"), out, force=True)
    assert out.read_text() == "new"


def test_failure_with_force_keeps_the_old_file(ge_run, tmp_path, monkeypatch):
    out = tmp_path / "ge.nequip.pth"
    out.write_text("precious")
    monkeypatch.setattr(
        build, "_in_own_process", lambda r, staged, v: (staged.write_text("bad"), write.Verdict("", False))[1]
    )
    assert not deploy(Recipe(ge_run / "best.ckpt"), out, force=True).passed
    assert out.read_text() == "precious" and list(tmp_path.iterdir()) == [out]


def test_full_disk(ge_run, tmp_path, capsys, monkeypatch):
    """PyTorch ends the process that cannot write; a file size limit stands in for the disk."""
    run = subprocess.run

    def run_with_little_space(*args, **options):
        limit = (50_000, 50_000)  # bytes
        return run(*args, **options, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))

    monkeypatch.setattr(build.subprocess, "run", run_with_little_space)
    assert "disk full" in refused(capsys, "build", "--train-dir", ge_run, tmp_path / "ge.nequip.pth")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ge.pth", "ge.nequip", ".nequip.pth", "ge.nequip.pth.bak"])
def test_unknown_ending(ge_run, tmp_path, capsys, name):
    error = refused(capsys, "build", "--train-dir", ge_run, tmp_path / name)
    assert all(ending in error for ending in (".nequip.pth", ".nequip.pt2", ".nequip.zip"))


def test_folder_in_the_place_of_the_file(ge_run, tmp_path, capsys):
    (tmp_path / "ge.nequip.pth").mkdir()
    assert "is a folder" in refused(capsys, "build", "--train-dir", ge_run, tmp_path / "ge.nequip.pth", "--force")


def test_lammps_input_is_checked_before_the_export(ge_run, tmp_path, capsys):
    """Not after minutes of compilation."""
    build = ["build", "--train-dir", ge_run, tmp_path / "ge.nequip.pt2", "--lammps-input", tmp_path / "in"]
    assert "does not exist" in refused(capsys, *build, "--structure", tmp_path / "slab.cif")
    assert "not be a file for LAMMPS" in refused(capsys, *build, "--target", "ase")
    (tmp_path / "in").write_text("precious")
    assert "--force" in refused(capsys, *build)
    assert [f.name for f in tmp_path.iterdir()] == ["in"]


def test_file_that_came_meanwhile_is_kept(ge_run, tmp_path, monkeypatch):
    out = tmp_path / "ge.nequip.pth"

    def meanwhile(recipe, staged, verbose):
        staged.write_text("new")
        out.write_text("precious")
        return write.Verdict("", True)

    monkeypatch.setattr(build, "_in_own_process", meanwhile)
    with pytest.raises(FileExistsError, match="--force"):
        deploy(Recipe(ge_run / "best.ckpt"), out)
    assert out.read_text() == "precious" and list(tmp_path.iterdir()) == [out]


def test_no_folder_for_the_file(ge_run, tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "ge.nequip.pth"
    assert "file is a file, not a folder" in refused(capsys, "build", "--train-dir", ge_run, out)


def test_folder_that_cannot_be_written(ge_run, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):  # root writes anywhere

        def mkdtemp(**options):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(atomic.tempfile, "mkdtemp", mkdtemp)
    assert "cannot be written: " in refused(capsys, "build", "--train-dir", ge_run, folder / "ge.nequip.pth")
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none(ge_run, tmp_path, capsys, in_process):
    error = refused(capsys, "build", "--train-dir", ge_run, tmp_path / "ge.nequip.pth", "--device", "cuda")
    assert "CUDA" in error and list(tmp_path.iterdir()) == []


def test_no_compiler(ge_run, tmp_path, capsys, in_process):
    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        error = refused(capsys, "build", "--train-dir", ge_run, tmp_path / "ge.nequip.pt2")
    assert "apt install g++" in error and "conda-forge cxx-compiler" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prefix", ["model.", "ema.ema_weight_"])
def test_model_with_nan(ge_run, tmp_path, capsys, in_process, prefix):
    """As when a transferred model's weights were not restored; buffers count, and the weights NequIP evaluates with."""
    checkpoint = torch.load(ge_run / "best.ckpt", weights_only=True)
    for name, tensor in checkpoint["state_dict"].items():
        if name.startswith(prefix) and tensor.is_floating_point():
            tensor.fill_(torch.nan)
    model = tmp_path / "nan.ckpt"
    torch.save(checkpoint, model)
    assert "not finite" in refused(capsys, "build", "--model", model, tmp_path / "ge.nequip.pth")
    assert list(tmp_path.iterdir()) == [model]


@pytest.mark.parametrize("content", [b"", b"training_module: nequip\n", b"PK\x03\x04 not a zip"])
def test_what_is_no_model(tmp_path, capsys, in_process, content):
    model = tmp_path / "best.ckpt"
    model.write_bytes(content)
    refused(capsys, "build", "--model", model, tmp_path / "ge.nequip.pth")
    assert list(tmp_path.iterdir()) == [model]


def test_truncated_checkpoint(ge_run, tmp_path, capsys, in_process):
    model = tmp_path / "best.ckpt"
    model.write_bytes((ge_run / "best.ckpt").read_bytes()[:20_000])
    refused(capsys, "build", "--model", model, tmp_path / "ge.nequip.pth")


def test_missing_model(tmp_path, capsys):
    assert "does not exist" in refused(capsys, "build", "--model", tmp_path / "a.ckpt", tmp_path / "ge.nequip.pth")


def test_pickle_that_runs_code_is_not_unpickled(tmp_path, capsys, in_process):
    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": {}, "hyper_parameters": Payload()}, tmp_path / "best.ckpt")
    refused(capsys, "build", "--model", tmp_path / "best.ckpt", tmp_path / "ge.nequip.pth")
    assert not (tmp_path / "ran").exists()


def test_options_that_do_not_go_together(ge_run, deployed, tmp_path, capsys, in_process):
    run, best = ["build", "--train-dir", ge_run], ge_run / "best.ckpt"
    assert "--target" in refused(capsys, *run, tmp_path / "ge.nequip.pth", "--target", "ase")
    assert "--modifiers" in refused(capsys, *run, tmp_path / "ge.nequip.zip", "--modifiers", "enable_OpenEquivariance")
    assert "strictly local" in refused(capsys, *run, tmp_path / "ge.nequip.pt2", "--target", "pair_allegro")
    assert "need none: leave it out" in refused(capsys, *run, tmp_path / "ge.nequip.zip", "--common-cutoff")
    assert "--checkpoint" in refused(
        capsys, "build", "--model", best, "--checkpoint", "last.ckpt", tmp_path / "ge.nequip.pth"
    )
    package = deployed("ge", ".nequip.zip")
    assert "package already" in refused(capsys, "build", "--model", package, tmp_path / "ge.nequip.zip")


@pytest.mark.parametrize("family", ["nequip", "bessel", "spline"])
def test_one_cutoff_for_all_pairs_loses_nothing(nequip_architecture, allegro_architecture, family):
    """Given pairs beyond their own cutoffs, a model says what it says without them, by its envelope."""
    table = {"Si": {"Si": 4.0, "Ge": 3.5}, "Ge": {"Si": 3.5, "Ge": 3.0}}
    options = {"per_edge_type_cutoff": table, "num_layers": 2}
    if family == "nequip":
        model = build_model(nequip_architecture("Si", "Ge", **options))
    else:
        model = build_model(allegro_architecture("Si", "Ge", embedding=family, **options))
    cutoffs = np.array([list(row.values()) for row in table.values()])
    for frame in (verify.beyond_cutoffs(cutoffs), verify.made_up_crystal(cutoffs)):
        of_pairs, common = (neighbor_list(4.0, given, ["Si", "Ge"])(frame.copy()) for given in (table, None))
        assert common["edge_index"].shape[1] > of_pairs["edge_index"].shape[1]
        expected, found = predict_graph(model, of_pairs), predict_graph(model, common)
        assert found.energy == pytest.approx(expected.energy, abs=1e-10)
        np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-10)
        np.testing.assert_allclose(found.virial, expected.virial, rtol=0, atol=1e-10)


def test_cutoffs_that_are_all_the_largest_are_left_out(nequip_architecture, tmp_path):
    """They would only be in the way of LAMMPS types of one name."""
    for cutoff, is_kept in ((4.0, False), (3.5, True)):
        model = build_model(nequip_architecture("Si", "Ge", per_edge_type_cutoff={"Si": {"Ge": cutoff}}))
        trained = TrainedModel(tmp_path / "best.ckpt", "0" * 64, model, None)
        assert ("per_edge_type_cutoff" in export.metadata_of(trained, model, False, False)) == is_kept
        assert "per_edge_type_cutoff" not in export.metadata_of(trained, model, False, True)


def test_unknown_modifier(ge_run, tmp_path, capsys, in_process):
    error = refused(
        capsys, "build", "--train-dir", ge_run, tmp_path / "ge.nequip.pth", "--modifiers", "enable_OpenEquivarianc"
    )
    assert "did you mean 'enable_OpenEquivariance'" in error


def test_model_without_forces(ge_run, tmp_path, capsys, in_process):
    build = ["build", "--train-dir", ge_run, tmp_path / "ge.nequip.pth"]
    assert "computes no forces" in refused(capsys, *build, "--modifiers", "disable_ForceStressOutput")
    assert list(tmp_path.iterdir()) == []


def test_interrupted(ge_run, tmp_path, monkeypatch):
    """Whatever ends the work, nothing half-written stays."""

    def interrupted(recipe, staged, verbose):
        staged.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "_in_own_process", interrupted)
    shutil.copy(ge_run / "best.ckpt", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        deploy(Recipe(tmp_path / "best.ckpt"), tmp_path / "ge.nequip.pth")
    assert [f.name for f in tmp_path.iterdir()] == ["best.ckpt"]
