"""What a deployed transferred model costs per step, relative to the same architecture built by NequIP.

    python evidence/benchmarks/deployed_cost.py runs/ge/best.ckpt --repeats 200
    python evidence/benchmarks/deployed_cost.py runs/ge/best.ckpt --uncertainty

Both are deployed as TorchScript and as AOTInductor by the same code and timed in turn on the same structure, so that
whatever else the machine does meets both alike. Printed: the median time of a force call of each, and the median of the
ratios of neighbouring calls, which should be 1. Invariant 7 of the design: no cost afterwards. With `--uncertainty`, a
file that says how unsure it is against the plain file of the same model.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from nequip.utils.global_state import set_global_state
from tqdm.auto import tqdm

from nequip_elemtransfer.architecture import builders as architecture
from nequip_elemtransfer.deploy import export
from nequip_elemtransfer.deploy.deployed import DeployedModel, neighbor_list
from nequip_elemtransfer.deploy.trained import TrainedModel, example_data, load_trained
from nequip_elemtransfer.deploy.write import Recipe, write_and_verify
from nequip_elemtransfer.source import load_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="of a transferred model")
    parser.add_argument("--repeats", type=int, default=200, help="calls of each model (default: 200)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--kinds", nargs="+", choices=("pth", "pt2"), default=["pth", "pt2"])
    parser.add_argument("--uncertainty", action="store_true", help="compare files with and without uncertainties")
    args = parser.parse_args()
    set_global_state()
    frame = example_data(load_trained(args.checkpoint))
    for kind in args.kinds:
        with tempfile.TemporaryDirectory() as folder:
            make = with_and_without if args.uncertainty else transferred_and_stock
            models = make(args.checkpoint, Path(folder), f".nequip.{kind}", frame, args.device)
        times = interleaved(list(models.values()), next(iter(models.values())).graph(frame), args.repeats, args.device)
        ratio = times[0] / times[1]
        low, high = bootstrap_interval(ratio)
        medians = ", ".join(f"{name} {1e3 * np.median(of):.3f} ms" for name, of in zip(models, times))
        print(
            f"{kind}: {medians}, ratio {np.median(ratio):.4f} (95 % interval {low:.4f} to {high:.4f}), "
            f"{len(frame['pos'])} atoms, {args.device}"
        )


def transferred_and_stock(
    checkpoint: Path, folder: Path, ending: str, frame: dict, device: str
) -> dict[str, DeployedModel]:
    transferred = load_trained(checkpoint)  # anew, since an export changes the model in place
    if transferred.provenance is None:
        raise SystemExit(f"{checkpoint} holds no transferred model")
    stock = replace(transferred, model=stock_model(checkpoint), provenance=None)
    return {
        name: deploy(trained, folder / f"{name}{ending}", frame, device)
        for name, trained in (("transferred", transferred), ("stock", stock))
    }


def with_and_without(checkpoint: Path, folder: Path, ending: str, frame: dict, device: str) -> dict[str, DeployedModel]:
    found = {}
    for name, wanted in (("with uncertainty", True), ("without", False)):
        out = folder / f"{wanted}{ending}"
        verdict = write_and_verify(Recipe(checkpoint, device=device, uncertainty=wanted), out)
        print(verdict.report)
        found[name] = DeployedModel(out, device)
    return found


def stock_model(checkpoint: Path) -> torch.nn.Module:
    """The same architecture with random weights, built by NequIP's own builder."""
    return architecture.build(load_source(str(checkpoint)).architecture).eval()


def deploy(trained: TrainedModel, out: Path, frame: dict, device: str) -> DeployedModel:
    """Export a model and load the file."""
    metadata = export.metadata_of(trained, trained.model, allow_tf32=False, common_cutoff=False)
    if out.suffix == ".pth":
        # the stock one as `nequip-compile` writes it, without our check that there is a cell
        unchecked = trained.provenance is None or trained.pair_style == "allegro"
        export.write_torchscript(trained.model, metadata, out, device, strictly_local=unchecked)
    else:
        graph = neighbor_list(float(metadata["r_max"]), None, trained.model.type_names)(frame.copy())
        export.write_aotinductor(trained.model, metadata, out, device, f"pair_{trained.pair_style}", graph)
    return DeployedModel(out, device)


def interleaved(models: list[DeployedModel], graph: dict, repeats: int, device: str) -> np.ndarray:
    """Seconds per force call, shape (n_models, repeats); the order of the models alternates."""
    for model in models:
        for _ in range(10):
            model.predict(graph)
    clock = time.perf_counter if device == "cuda" else time.process_time  # processor time: other programs do not count
    times = np.zeros((len(models), repeats))
    for repeat in tqdm(range(repeats), leave=False):
        for i in range(len(models)) if repeat % 2 else reversed(range(len(models))):
            start = clock()
            models[i].predict(graph)
            if device == "cuda":
                torch.cuda.synchronize()
            times[i, repeat] = clock() - start
    return times


def bootstrap_interval(ratio: np.ndarray) -> np.ndarray:
    """Where the median of the ratios lies with 95 % confidence."""
    samples = np.random.default_rng(0).choice(ratio, (2000, len(ratio)))
    return np.percentile(np.median(samples, axis=1), [2.5, 97.5])


if __name__ == "__main__":
    main()
