"""``nequip-elemtransfer check``: all before a training, its sentence, and what a stock config has wrong."""

import re
import subprocess
import sys

import ase.io
import pytest
import yaml
from commands import run
from real_runs import structures, transfer_config

# configs/tutorial.yaml of NequIP 0.19, without its model and its comments, with what a reader changes to make it a
# transfer and nothing else; logger and accelerator as this machine has them
TUTORIAL = """
run: [train, test]
element_transfer:
  source: si.ckpt
  elements: {Ge: Si}
  compile_mode: compile
chemical_symbols: ${element_transfer:type_names}
model_type_names: ${element_transfer:type_names}
cutoff_radius: ${element_transfer:r_max}
monitored_metric: val0_epoch/weighted_sum
data:
  _target_: nequip.data.datamodule.ASEDataModule
  seed: 456
  split_dataset: {file_path: ge.xyz, train: 0.8, val: 0.1, test: 0.1}
  transforms:
    - _target_: nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper
      model_type_names: ${model_type_names}
    - _target_: nequip.data.transforms.NeighborListTransform
      r_max: ${cutoff_radius}
  train_dataloader: {_target_: torch.utils.data.DataLoader, batch_size: 5, num_workers: 5, shuffle: true}
  val_dataloader:
    _target_: torch.utils.data.DataLoader
    batch_size: 10
    num_workers: ${data.train_dataloader.num_workers}
  test_dataloader: ${data.val_dataloader}
  stats_manager:
    _target_: nequip.data.CommonDataStatisticsManager
    dataloader_kwargs: {batch_size: 10}
    type_names: ${model_type_names}
trainer:
  _target_: lightning.Trainer
  accelerator: cpu
  enable_checkpointing: true
  max_epochs: 1000
  max_time: 03:00:00:00
  check_val_every_n_epoch: 1
  log_every_n_steps: 20
  logger: {_target_: lightning.pytorch.loggers.CSVLogger, save_dir: "${hydra:runtime.output_dir}"}
  callbacks:
    - _target_: lightning.pytorch.callbacks.EarlyStopping
      monitor: ${monitored_metric}
      min_delta: 1e-3
      patience: 20
    - _target_: lightning.pytorch.callbacks.ModelCheckpoint
      monitor: ${monitored_metric}
      dirpath: ${hydra:runtime.output_dir}
      filename: best
      save_last: true
    - _target_: lightning.pytorch.callbacks.LearningRateMonitor
      logging_interval: epoch
training_module:
  _target_: nequip.train.EMALightningModule
  ema_decay: 0.999
  loss:
    _target_: nequip.train.EnergyForceLoss
    per_atom_energy: true
    coeffs: {total_energy: 1.0, forces: 1.0}
  val_metrics:
    _target_: nequip.train.EnergyForceMetrics
    coeffs: {total_energy_mae: 1.0, forces_mae: 1.0}
  train_metrics: ${training_module.val_metrics}
  test_metrics: ${training_module.val_metrics}
  optimizer: {_target_: torch.optim.Adam, lr: 0.01}
  lr_scheduler:
    scheduler:
      _target_: torch.optim.lr_scheduler.ReduceLROnPlateau
      factor: 0.6
      patience: 5
      threshold: 0.2
      min_lr: 1e-6
    monitor: ${monitored_metric}
    interval: epoch
    frequency: 1
  model: ${element_transfer:model}
global_options: {allow_tf32: false}
"""


def check(folder, config, *overrides):
    (folder / "config.yaml").write_text(config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False))
    return run("nequip-elemtransfer", "check", "-cp", folder, "-cn", "config", *overrides, cwd=folder, check=False)


def test_the_tutorial_config_of_nequip(source, tmp_path):
    """Of twelve structures two steps are an epoch: what counts epochs stops at once, and each is named."""
    (tmp_path / "si.ckpt").write_bytes(source.read_bytes())
    ase.io.write(tmp_path / "ge.xyz", structures("Ge", 12))
    done = check(tmp_path, TUTORIAL, "trainer.max_epochs=200")
    assert done.returncode == 0, done.stderr
    said = re.findall(r"element_transfer: (.*)", done.stdout)
    begins = [
        "the training structures have stresses and `training_module.loss` does not",
        "the checkpoint is chosen without stresses",
        "1 structure alone chooses the checkpoint",
        "early stopping ends the training after 40 steps",
        "the learning rate, 0.01, is one for random weights",
        "the learning rate falls after 10 steps",
        "`ema_decay` averages the weights over 1000 steps, and the training has 400",
        "the model is compiled first, for one to three minutes, and the whole training takes about",
        "the first step compiles the model",
    ]
    assert len(said) == len(begins) and all(line.startswith(begin) for line, begin in zip(said, begins)), said


def test_all_before_a_training_and_no_training(data, source, tmp_path):
    """The receipt is that of nequip-train; nothing is left behind."""
    done = check(tmp_path, transfer_config(data, source), "element_transfer.length_scale=1.04")
    assert done.returncode == 0, done.stderr
    for part in ("Element transfer: Ge from Si", "cutoff radius 4.0000 Å -> 4.1600 Å", "+ energy shifts"):
        assert part in done.stdout
    assert done.stdout.endswith("The config goes with its transfer. No training was done.\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["element_transfer.length_scale=covalent"],
            "`element_transfer.length_scale` is 'covalent'; did you mean 'cov",
        ),
        (["element_transfer.elements={Ge: si}"], "'si', which is not a type of the source; did you mean 'Si'"),
        (
            ["training_module.model=null"],
            "^nequip-elemtransfer: the config has the key `element_t.* or leave the key out.$",
        ),
        (["trainer.no_such_option=1"], "Could not override 'trainer.no_such_option'"),
        (["+trainer.no_such_option=1"], "no_such_option"),
    ],
)
def test_one_sentence_at_the_end(data, source, tmp_path, overrides, sentence):
    done = check(tmp_path, transfer_config(data, source), *overrides)
    assert done.returncode == 2
    assert re.search(sentence, done.stderr.splitlines()[-1]), done.stderr
    assert "Traceback" not in done.stderr


SECONDS = """
import sys, time
from nequip_elemtransfer.cli import main
code = main(sys.argv[1:])
print(code, time.process_time(), "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["element_transfer.source=none.ckpt"], "source 'none.ckpt' does not exist: give the path"),
        (
            ["data.train_file_path=none.xyz"],
            "`data.train_file_path` names 'none.xyz', which is not a file (relative paths start from",
        ),
        (["+ckpt_path=none.ckpt"], "`ckpt_path` 'none.ckpt' does not exist: give the checkpoint to continue from"),
    ],
)
def test_a_wrong_path_is_told_before_pytorch_is_imported(data, source, tmp_path, overrides, sentence):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(transfer_config(data, source)))
    words = [sys.executable, "-c", SECONDS, "check", "-cp", str(tmp_path), *overrides]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert sentence in done.stderr
    code, seconds, imported = done.stdout.split()
    assert (code, imported) == ("2", "False") and float(seconds) < 1.5


def test_a_folder_that_nequip_train_would_look_for_elsewhere(tmp_path):
    done = run("nequip-elemtransfer", "check", "-cp", "configs", cwd=tmp_path, check=False)
    assert done.returncode == 2 and 'give it as an absolute path, "$PWD/configs".' in done.stderr
