"""Trainings of a tiny transferred model inside the test's own process, as ``nequip-train`` does them."""

import copy

import ase.io
import lightning
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.checkpoints.stored_model import TRANSFERRED_MODEL
from nequip_elemtransfer.data.stillinger_weber import stillinger_weber_calculator
from nequip_elemtransfer.model import hand_over
from nequip_elemtransfer.transfer.transfer import state_digest


def write_structures(path, n, seed=0):
    """Rattled germanium cells of 8 atoms with Stillinger-Weber energies and forces."""
    frames = []
    for i in range(n):
        atoms = bulk("Ge", "diamond", a=5.654, cubic=True)
        atoms.rattle(0.12, seed=1000 * seed + i)
        atoms.calc = stillinger_weber_calculator("Ge")
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        frames.append(atoms)
    ase.io.write(path, frames)


def transferred(architecture, restart=False):
    """A ``model:`` section as the look-up gives it. In the process of a restart its weights would be NaN."""
    arch.initialize_nequip()
    state = arch.build(architecture).state_dict()
    digest = state_digest(state)
    if restart:
        digest = "gone"
    else:
        hand_over(digest, state)
    return {"_target_": TRANSFERRED_MODEL, "architecture": architecture, "provenance": {"weights": digest}}


class Fit:
    """Trains a model of ``architecture`` on the structures of ``folder``.

    Args:
        module: of NequIP's training modules, by name
        optimizer: its section of a config
        callbacks: their sections; each training gets its own
    """

    def __init__(
        self,
        folder,
        architecture,
        *,
        optimizer,
        callbacks=(),
        module="EMALightningModule",
        scheduler=None,
        model=None,
        strategy="auto",
    ):
        self.folder, self.architecture, self.model, self.strategy = folder, architecture, model, strategy
        self.kind, self.optimizer, self.callbacks, self.scheduler = module, optimizer, callbacks, scheduler
        folder.mkdir(exist_ok=True, parents=True)
        if not (folder / "train.xyz").exists():
            write_structures(folder / "train.xyz", 4)
            write_structures(folder / "val.xyz", 2, seed=1)

    def run(self, max_steps, ckpt_path=None, watch=()):
        """Train to ``max_steps``, one step an epoch, with a checkpoint ``step=N.ckpt`` after each step N."""
        module = self.module(restart=ckpt_path is not None)
        saver = ModelCheckpoint(
            self.folder / "saved", filename="{step}", save_top_k=-1, every_n_epochs=1, save_on_train_epoch_end=True
        )
        callbacks = [instantiate(copy.deepcopy(c)) for c in self.callbacks]
        self.trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            strategy=instantiate(self.strategy) if isinstance(self.strategy, dict) else self.strategy,
            max_steps=max_steps,
            max_epochs=-1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,
            callbacks=[saver, *callbacks, *watch],
        )
        self.trainer.fit(module, datamodule=self._data(), ckpt_path=ckpt_path, weights_only=False)
        self.fitted = module
        return {name: p.detach().clone() for name, p in module.model.named_parameters()}

    def checkpoint(self, step):
        return self.folder / "saved" / f"step={step}.ckpt"

    def _data(self):
        transforms = [
            {
                "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                "model_type_names": self.architecture["type_names"],
            },
            {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": self.architecture["r_max"]},
        ]
        return instantiate(
            {
                "_target_": "nequip.data.datamodule.ASEDataModule",
                "seed": 0,
                "train_file_path": str(self.folder / "train.xyz"),
                "val_file_path": str(self.folder / "val.xyz"),
                "transforms": transforms,
                "train_dataloader": {"_target_": "torch.utils.data.DataLoader", "batch_size": 4},
            },
            _recursive_=False,
        )

    def module(self, restart):
        """NequIP's training module; in the process of a restart its weights are NaN."""
        section = {
            "_target_": f"nequip.train.{self.kind}",
            "loss": {
                "_target_": "nequip.train.EnergyForceLoss",
                "per_atom_energy": True,
                "coeffs": {"total_energy": 1.0, "forces": 1.0},
            },
            "val_metrics": {
                "_target_": "nequip.train.EnergyForceMetrics",
                "coeffs": {"per_atom_energy_mae": 1.0, "forces_mae": 1.0},
            },
            "optimizer": self.optimizer,
            "model": self.model or transferred(self.architecture, restart),
        }
        if self.scheduler:
            section["lr_scheduler"] = {"scheduler": self.scheduler, "interval": "step"}
        info = {"training_module": section, "versions": {}, "data": {}, "runs": ["train"]}
        return instantiate(
            section,
            _recursive_=False,
            _convert_="all",
            num_datasets={"train": 1, "val": 1, "test": 0},
            info_dict=info,
        )


class Recorder(Callback):
    """Keeps learning rates and weights as they are before each step."""

    def __init__(self):
        self.rates, self.weights = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append({g["name"]: g["lr"] for g in trainer.optimizers[0].param_groups})
        self.weights.append({name: p.detach().clone() for name, p in pl_module.model.named_parameters()})


def groups(lr=0.01, optimizer="torch.optim.Adam", roles=None, **options):
    """The ``optimizer:`` section with parameters by role."""
    factory = {"_target_": "nequip_elemtransfer.ParameterGroups", "lr": lr, "roles": roles or {}}
    return {"_target_": optimizer, "param_groups": factory, **options}


def assert_same(weights, others):
    """Equal to the last bit."""
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        assert torch.isfinite(value).all(), name
        torch.testing.assert_close(others[name], value, rtol=0, atol=0, msg=name)
