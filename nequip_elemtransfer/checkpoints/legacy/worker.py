"""The process that runs the TorchScript of a deployed file of NequIP 0.5 or 0.6:

    python -m nequip_elemtransfer.checkpoints.legacy.worker < TASK > ANSWER

A task is an ``.npz`` of the bytes of a ``model`` and of its inputs, an answer one of its outputs or of a ``problem``.
TorchScript has operations that read and write files, so before the file is loaded, the process gives up the right to
open files and connections.
"""

import io
import os
import resource
import sys

import numpy as np
import torch

_OUTPUTS = ("atomic_energy", "forces")
_SECONDS = 300  # of computing


def main() -> None:
    """Answer one task; what the file prints is lost."""
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        task = dict(np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False))
        file = task.pop("model").tobytes()
        _run(_scripted())  # what PyTorch imports when it first loads and runs
        _open_nothing()
        try:
            out = _run(file, {name: torch.from_numpy(value) for name, value in task.items()})
        except Exception as error:
            # TorchScript's errors end with what happened
            out = {"problem": np.array((str(error).strip().splitlines() or [type(error).__name__])[-1])}
        written = io.BytesIO()
        np.savez(written, allow_pickle=False, **out)
        answer.write(written.getvalue())


def _run(file: bytes, data: dict[str, torch.Tensor] | None = None) -> dict[str, np.ndarray]:
    model = torch.jit.load(io.BytesIO(file), map_location="cpu").eval()
    out = model(data or {"pos": torch.ones(2, 3)})
    return {name: tensor.detach().numpy() for name, tensor in out.items() if name in _OUTPUTS}


def _open_nothing() -> None:
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))


class _Harmonic(torch.nn.Module):
    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        pos = data["pos"].requires_grad_(True)
        gradient = torch.autograd.grad([(pos * pos).sum()], [pos])[0]
        assert gradient is not None
        return {"forces": -gradient}


def _scripted() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(_Harmonic()), file)
    return file.getvalue()


if __name__ == "__main__":
    main()
