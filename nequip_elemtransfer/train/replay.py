"""Which structures a training sees, and in which order.

``ReplayLoader`` shows a model structures of the source again while it learns those of the target. ``RestoreBatchOrder``
makes a restart see the structures in the order of a training without one.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler

from nequip_elemtransfer.source import load_source


def ReplayLoader(
    dataset: Dataset, generator: torch.Generator, replay: Dataset, share: float, **options: Any
) -> DataLoader:
    """A loader of training structures and, among them, others.

    An epoch has each training structure once, and as many of the others, drawn anew, as make up their share.

    .. code-block:: yaml

        train_dataloader:
          _target_: nequip_elemtransfer.ReplayLoader
          replay:
            _target_: nequip.data.dataset.ASEDataset
            file_path: data/Si_train.xyz
            transforms: ${data.transforms}
          share: 0.5
          batch_size: 4

    The start of a transfer is fitted to the training structures alone.

    Args:
        dataset, generator: what NequIP's datamodule hands over
        replay: the others; their types must be among the model's
        share: of the others in an epoch, above 0 and below 1
        options: of :class:`torch.utils.data.DataLoader`

    Raises:
        ValueError: for another share, no structures, a sampler, or others that lack labels of the training structures
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ValueError(f"`train_dataloader.share` must be a number above 0 and below 1, found {share!r}.")
    taken = sorted({"sampler", "batch_sampler"} & set(options))
    if taken or not options.pop("shuffle", True):
        raise ValueError(
            f"`train_dataloader` has {taken[0] if taken else '`shuffle: false`'}, but nequip_elemtransfer.ReplayLoader "
            "draws and shuffles itself: leave it out."
        )
    if not len(replay):
        raise ValueError("`train_dataloader.replay` has no structures: leave it out, or name a file that has some.")
    _require_same_fields(dataset[0], replay[0])
    sampler = _Epochs(len(dataset), len(replay), max(1, round(len(dataset) * share / (1 - share))), generator)
    return DataLoader(ConcatDataset([dataset, replay]), sampler=sampler, generator=generator, **options)


def _require_same_fields(structure: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """NequIP makes no batch of structures whose labels, or other fields, differ in kind."""
    lacking, surplus = sorted(set(structure) - set(other)), sorted(set(other) - set(structure))
    if lacking or surplus:
        said = [f"lack {', '.join(lacking)}"] * bool(lacking) + [f"have {', '.join(surplus)} besides"] * bool(surplus)
        raise ValueError(
            f"the structures of `train_dataloader.replay` {' and '.join(said)}, compared with the training set, and a "
            "batch must have the same labels throughout: mend the files, or let the source label the structures "
            "(nequip_elemtransfer.train.replay.label)."
        )


def label(
    source: str,
    structures: Sequence[Atoms],
    labels: Sequence[str] = ("energy", "forces", "stress"),
    device: str = "cpu",
) -> list[Atoms]:
    """Copies of structures with what a trained model gives them.

    Args:
        source: as for :func:`nequip_elemtransfer.source.load_source`; its types are named after their elements
        structures: need no labels
        labels: those that the training structures have, of ``energy`` (eV), ``forces`` (eV/Å) and, for periodic
            structures, ``stress`` (eV/Å³)
        device: as PyTorch calls it
    """
    model = load_source(source)
    transforms = [ChemicalSpeciesToAtomTypeMapper(model.type_names), NeighborListTransform(model.r_max)]
    calculator = NequIPCalculator(model.build().eval(), device, transforms=transforms)
    labelled = []
    for atoms in structures:
        calculator.calculate(atoms)
        results = {name: calculator.results[name] for name in labels}
        labelled.append(atoms.copy())
        labelled[-1].calc = SinglePointCalculator(labelled[-1], **results)
    return labelled


class _Epochs(Sampler[int]):
    """Indices of the two data sets, one after the other, in the order of an epoch."""

    def __init__(self, n: int, n_replay: int, drawn: int, generator: torch.Generator) -> None:
        self._n, self._n_replay, self._drawn, self._generator = n, n_replay, drawn, generator

    def __len__(self) -> int:
        return self._n + self._drawn

    def __iter__(self) -> Iterator[int]:
        rounds = ceil(self._drawn / self._n_replay)  # all of them before any again
        orders = [torch.randperm(self._n_replay, generator=self._generator) for _ in range(rounds)]
        epoch = torch.cat([torch.arange(self._n), self._n + torch.cat(orders)[: self._drawn]])
        yield from epoch[torch.randperm(len(epoch), generator=self._generator)].tolist()


class RestoreBatchOrder(Callback):
    """Continue the order of batches on a restart.

    NequIP's datamodule saves the state of the generator that shuffles the training set, but Lightning restores it after
    the datamodule has made its generator, so that a restart begins again with the order of the first epoch.

    .. code-block:: yaml

        callbacks:
          - _target_: nequip_elemtransfer.RestoreBatchOrder

    The checkpoint must be one of the end of an epoch, as NequIP's are by default.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        data = trainer.datamodule
        data.train_generator.set_state(data.train_generator_state)
