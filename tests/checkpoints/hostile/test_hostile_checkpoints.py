"""No file runs code, and each is refused in one sentence by every command."""

import contextlib
import subprocess

import entry_points
import hostile_checkpoints
import pytest
import torch
import yaml
from commands import run
from entry_points import ALL, data_section
from hostile_checkpoints import CALLED, MODEL, PICKLES, WORKING, Pickled, put
from nequip.model.saved_models import load_saved_model

N = 208


@pytest.fixture(scope="module")
def hostile(contents, tmp_path_factory):
    """(file, canary, what it is) of each."""
    return hostile_checkpoints.generate(contents, tmp_path_factory.mktemp("hostile"), N)


def test_each_payload_is_tried_in_many_places(hostile):
    assert len(hostile) >= 200
    payloads = {what.split(" at ")[0] for *_, what in hostile}
    places = {what.split(" at ")[1] for *_, what in hostile}
    assert payloads == {*hostile_checkpoints.calls(hostile[0][1], hostile[0][0].parent), *PICKLES}
    assert places == {".".join(map(str, place)) for place in (*CALLED, *hostile_checkpoints.PLACES)}
    assert len({file.read_bytes() for file, *_ in hostile}) == len(hostile)


@pytest.mark.parametrize("name", WORKING)
def test_a_call_leaves_its_canary_where_nequip_loads_the_file(contents, tmp_path, name):
    """Or the tests below could not fail."""
    call = hostile_checkpoints.calls(tmp_path / "canary", tmp_path)[name]
    torch.save(put(contents, MODEL, call), tmp_path / "evil.ckpt")
    with contextlib.suppress(Exception):  # what it makes of the result
        load_saved_model(tmp_path / "evil.ckpt")
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("how", PICKLES)
def test_a_pickle_leaves_its_canary_where_it_is_unpickled(tmp_path, how):
    torch.save({"callbacks": Pickled(how, tmp_path / "canary")}, tmp_path / "evil.ckpt")
    loaded = torch.load(tmp_path / "evil.ckpt", weights_only=False)["callbacks"]
    if isinstance(loaded, subprocess.Popen):
        loaded.wait()
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("enter", ALL, ids=lambda enter: enter.__name__)
def test_nothing_runs_and_each_is_refused(hostile, silicon, tmp_path, in_this_process, enter):
    wrong = []
    for file, canary, what in hostile:
        try:
            code, said = enter(file, tmp_path, silicon)
        except Exception as error:  # which no command should let through
            code, said = 0, f"uncaught {error!r}"
        if canary.exists() or code == 0 or said.count("\n") != 1:
            wrong.append(f"{what}: {'ran' if canary.exists() else 'exit code'} {code}, {said}")
    assert not wrong, "\n".join(wrong)
    assert not [what for _, canary, what in hostile if canary.exists()]  # of a process that took its time
    assert not list(tmp_path.glob("out.*"))


@pytest.mark.parametrize("enter", ALL, ids=lambda enter: enter.__name__)
def test_the_honest_checkpoint_is_not_refused(checkpoint, silicon, tmp_path, in_this_process, enter):
    """What is refused above is the payload."""
    code, said = enter(checkpoint, tmp_path, silicon)
    if enter in (entry_points.info, entry_points.md):  # which take deployed files
        assert code == 2 and "renamed.nequip" in said
    elif enter is entry_points.build_train_dir:
        assert "several checkpoints" in said
    else:
        assert code == 0, said


# ---- whole commands


def test_build_with_the_process_that_it_starts(hostile, silicon, tmp_path):
    file, canary, _ = hostile[0]
    code, said = entry_points.build_torchscript(file, tmp_path, silicon)
    assert not canary.exists() and code == 2
    assert said.count("\n") == 1 and "'os.system'" in said
    assert list(tmp_path.iterdir()) == []


def test_restart_by_nequip_train_itself(contents, silicon, tmp_path):
    """The data of this config look up nothing, and NequIP takes any error of a look-up for a yes to `"model" in`."""
    torch.save(put(contents, ("loops",), Pickled("open", tmp_path / "canary")), tmp_path / "last.ckpt")
    training = contents["hyper_parameters"]["info_dict"]["training_module"]
    config = {
        "element_transfer": {"source": "gone.ckpt", "elements": {"Si": "Si"}},
        "run": ["train"],
        "data": data_section(silicon),
        "trainer": {"_target_": "lightning.Trainer", "max_epochs": 3, "logger": False},
        "training_module": training | {"model": "${element_transfer:model}"},
        "ckpt_path": str(tmp_path / "last.ckpt"),
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    options = ["-cp", tmp_path, "-cn", "config", f"hydra.run.dir={tmp_path}/out"]
    done = run("nequip-train", *options, cwd=tmp_path, check=False)
    assert not (tmp_path / "canary").exists()
    assert done.returncode == 1
    assert "nequip-train: `ckpt_path`: checkpoint" in done.stderr and "nothing else is unpickled" in done.stderr
    assert "Traceback" not in done.stderr
