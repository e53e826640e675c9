"""A grid of a study and results of its evaluations, as files; nothing is trained."""

import json

from nequip_elemtransfer.study.grid import Grid, Run

CRYSTAL = {"structure": "diamond", "formula": "Ge", "a": 5.66}
EMT = {"_target_": "ase.calculators.emt.EMT"}
STARTS, SIZES, SEEDS = ("scratch", "corresponding_states"), (5, 10), (0, 1)


def grid(**evaluations):
    runs = []
    for start in STARTS:
        for size in SIZES:
            for seed in SEEDS:
                settings = {"start": start, "model": "default", "train_on": "default", "size": size, "seed": seed}
                transfers = start != "scratch"
                runs.append(Run(f"{start}-n{size}-seed{seed}", settings, "c.yaml", (), transfers=transfers))
    return Grid(tuple(runs), evaluations=evaluations)


def put(out, part, model, name="result.json", **content):
    folder = out / "evaluations" / part / model
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"settings": {}} | content))
