r"""``LowRankUpdates``, which lets linear layers change by matrices of low rank only.

E. Hu et al., ICLR 2022, arXiv:2106.09685. There the factors are part of the model until they are merged into it. Here
the model stays as it is: the optimizer's group holds the factors in place of a weight, their gradients follow from the
weight's by the chain rule, and after each step the weight is made anew. So what is saved, packaged or compiled
is a stock model at any time, and a step costs what it costs without.
"""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

import torch
from e3nn.o3 import Linear, TensorProduct
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from nequip.nn import GraphModel
from nequip.nn.mlp import ScalarLinearLayer
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.train.groups import describe_groups, groups_by_role, refuse_schedule_free
from nequip_elemtransfer.train.roles import check_role, plain_settings

_SOLE_MODEL_KEY = imported("nequip.train.lightning._SOLE_MODEL_KEY")

logger = RankedLogger(__name__, rank_zero_only=True)


class Matrix(NamedTuple):
    """A matrix from inputs to outputs that is stored in a weight, row by row from ``offset`` on."""

    offset: int
    rows: int
    columns: int

    def of(self, weight: torch.Tensor) -> torch.Tensor:
        """The matrix as a view of the weight, shape (rows, columns)."""
        return (
            weight.detach().view(-1)[self.offset : self.offset + self.rows * self.columns].view(self.rows, self.columns)
        )


def matrices(model: GraphModel) -> dict[torch.nn.Parameter, tuple[str, list[Matrix]]]:
    """Name and matrices of each weight of a linear layer.

    These are the linear layers of e3nn, with one matrix for each pair of an irrep's channels in and out; its tensor
    products that mix all channels of both inputs, a matrix from pairs of channels; and layers of scalars.
    """
    found = {}
    for name, weight in model.named_parameters():
        owner, _, kind = name.rpartition(".")
        module = model.get_submodule(owner)
        if kind == "weight" or isinstance(module, torch.nn.ParameterList):
            blocks = list(_blocks(module, weight))
            if blocks:
                found[weight] = (name, blocks)
    return found


def _blocks(module: torch.nn.Module, weight: torch.nn.Parameter) -> Iterator[Matrix]:
    if isinstance(module, (ScalarLinearLayer, torch.nn.Linear, torch.nn.ParameterList)):
        if weight.ndim == 2:
            yield Matrix(0, *weight.shape)
        return
    if isinstance(module, Linear):
        shapes = [i.path_shape for i in module.instructions if i.i_in != -1]  # -1 is a bias
    elif isinstance(module, TensorProduct) and all(i.connection_mode == "uvw" for i in module.instructions):
        shapes = [i.path_shape for i in module.instructions if i.has_weight]
    else:
        return
    offset = 0
    for shape in shapes:  # (channels in,), perhaps (channels of the second input,), (channels out)
        if prod(shape):
            yield Matrix(offset, prod(shape[:-1]), shape[-1])
        offset += prod(shape)


class LowRankUpdates(Callback):
    r"""Train the linear layers of roles by updates of low rank,

    .. math:: W = W_\mathrm{start} + A B

    with A of shape (inputs, rank), random and of variance 1/rank, and B of shape (rank, outputs), zero at the start.
    Then the first step of Adam changes each weight by about the learning rate, as it does without. An equivariant
    layer has one matrix for each irrep, and each gets its own factors: only channels of one irrep are mixed.

    .. code-block:: yaml

        callbacks:
          - _target_: nequip_elemtransfer.LowRankUpdates
            ranks: {interactions: 4, radial_networks: 2}

    The optimizer needs :func:`nequip_elemtransfer.ParameterGroups`; learning rates, weight decay (of the factors) and
    freezing are those of the roles. Parameters of these roles that are no linear layers are trained as they are. The
    factors and :math:`W_\mathrm{start}` are saved in the checkpoint, with the callback's state.

    Args:
        ranks: of the updates, by role

    Raises:
        ValueError: for a rank that is no whole number above zero; when training starts, for a rank above a layer's, a
            role without linear layers, or with ScheduleFree
    """

    def __init__(self, ranks: Mapping[str, int]) -> None:
        ranks = plain_settings(ranks)
        if not isinstance(ranks, Mapping) or not ranks:
            raise ValueError(f"`ranks` must map roles to ranks, as in `{{interactions: 4}}`, found {ranks!r}.")
        for role, rank in ranks.items():
            if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
                raise ValueError(f"`ranks.{role}` must be a whole number of at least 1, found {rank!r}.")
        self._ranks = dict(ranks)
        self._updates: list[LowRankUpdate] = []
        self._saved: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        # before Lightning restores the optimizer's state, which counts the parameters of each group
        optimizer = trainer.optimizers[0]
        refuse_schedule_free(optimizer, "nequip_elemtransfer.LowRankUpdates")
        groups = groups_by_role(optimizer, "nequip_elemtransfer.LowRankUpdates")
        for role in self._ranks:
            check_role(role, "ranks", dict.fromkeys(group["role"] for group in groups))
        linear = matrices(pl_module.model[_SOLE_MODEL_KEY])
        generator = torch.Generator().manual_seed(0)
        self._updates = []
        for role, rank in self._ranks.items():
            of_role = [group for group in groups if group["role"] == role]
            updates = [u for group in of_role for u in _replace(group, rank, linear, generator)]
            if not updates:
                raise ValueError(f"`ranks.{role}`: {role} have no linear layers that could be updated at a low rank.")
            self._updates += updates
        optimizer.register_step_post_hook(lambda *_: self._merge())
        logger.info(f"Low-rank updates: {self._ranks}\n\n{describe_groups(groups)}\n")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        # only here: strategies differ in whether they load a checkpoint before or after `on_fit_start`
        for update in self._updates:
            update.begin(None if self._saved is None else self._saved["updates"][update.name])
        self._saved = None

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """"""
        for update in self._updates:
            update.pull_gradient()

    def state_dict(self) -> dict[str, Any]:
        """"""
        return {"ranks": dict(self._ranks), "updates": {update.name: update.state() for update in self._updates}}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """"""
        saved = checkpoint["callbacks"].get(self.state_key, {"ranks": "none"})
        if saved["ranks"] != self._ranks:
            raise ValueError(
                f"{str(trainer.ckpt_path)!r} was trained with low-rank updates of the ranks {saved['ranks']}, and the "
                f"config has {self._ranks}: keep the callback as it was on a restart, or begin a new training."
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """"""
        self._saved = dict(state_dict)

    def _merge(self) -> None:
        for update in self._updates:
            update.merge()


class LowRankUpdate:
    """A weight that changes by products of two factors.

    Args:
        name: of the weight
        weight: keeps its place in the model
        blocks: the matrices in it
        rank: at most that of the smallest matrix
        generator: of the random factors
    """

    def __init__(
        self,
        name: str,
        weight: torch.nn.Parameter,
        blocks: list[Matrix],
        rank: int,
        generator: torch.Generator,
    ) -> None:
        self.name, self.weight, self.blocks = name, weight, blocks
        self._start = weight.detach().clone()
        self._factors = []
        for block in blocks:
            down = torch.randn(block.rows, rank, generator=generator) / rank**0.5
            self._factors.append((_parameter(down, weight), _parameter(torch.zeros(rank, block.columns), weight)))
        weight.requires_grad_(True)  # the factors' gradients come from it; a frozen group's factors take none

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The factors of all matrices."""
        return [factor for pair in self._factors for factor in pair]

    def begin(self, saved: Mapping[str, Any] | None) -> None:
        """Take the start from the weight as it is, or start and factors from a checkpoint."""
        with torch.no_grad():
            if saved is None:
                self._start.copy_(self.weight)
                return
            self._start.copy_(saved["start"])
            for factor, value in zip(self.parameters, saved["factors"]):
                factor.copy_(value)

    def state(self) -> dict[str, Any]:
        """What :meth:`begin` takes."""
        return {"start": self._start, "factors": [factor.detach() for factor in self.parameters]}

    def pull_gradient(self) -> None:
        """Turn the weight's gradient G into the factors', G Bᵀ and Aᵀ G."""
        gradient, self.weight.grad = self.weight.grad, None
        for block, (down, up) in zip(self.blocks, self._factors):
            if gradient is None or not down.requires_grad:
                down.grad = up.grad = None
                continue
            part = block.of(gradient.contiguous())
            down.grad, up.grad = part @ up.detach().T, down.detach().T @ part

    def merge(self) -> None:
        """Make the weight of its start and the factors."""
        with torch.no_grad():
            for block, (down, up) in zip(self.blocks, self._factors):
                torch.addmm(block.of(self._start), down, up, out=block.of(self.weight))


def _replace(
    group: dict[str, Any], rank: int, linear: Mapping[torch.nn.Parameter, tuple[str, list[Matrix]]], generator: Any
) -> list[LowRankUpdate]:
    """Put factors in the place of a group's weights of linear layers."""
    updates, members = [], []
    for weight in group["params"]:
        if weight not in linear:
            members.append(weight)
            continue
        name, blocks = linear[weight]
        smallest = min(blocks, key=lambda block: min(block.rows, block.columns))
        if rank > min(smallest.rows, smallest.columns):
            raise ValueError(
                f"`ranks.{group['role']}` is {rank}, but {name} has a matrix of {smallest.rows} by {smallest.columns}, "
                f"whose rank is at most {min(smallest.rows, smallest.columns)}: give that or less."
            )
        updates.append(LowRankUpdate(name, weight, blocks, rank, generator))
        members += updates[-1].parameters
    for factor in members:
        factor.requires_grad_(not group["frozen"])
    group["params"] = members
    if updates:
        group["rank"] = rank
    return updates


def _parameter(value: torch.Tensor, weight: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(value.to(dtype=weight.dtype, device=weight.device))
