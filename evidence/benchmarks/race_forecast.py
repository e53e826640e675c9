"""What races foresaw of errors on new structures, and what the trained winners have on a test set.

    python evidence/benchmarks/race_forecast.py runs/race_ge/subset* > race_ge.json

Each folder is one of ``nequip-elemtransfer race`` whose ``train.yaml`` was trained into its folder ``test``:

    nequip-train -cp "$PWD/DIR" -cn train 'run=[train,test]' +data.test_file_path=data/mlearn/Ge_test.xyz \
      '+training_module.test_metrics=${training_module.val_metrics}' hydra.run.dir=DIR/test

The table goes to the terminal, all numbers of the races to the output.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from nequip_elemtransfer.study.grid import read_json
from nequip_elemtransfer.study.run.results import test_errors

METRICS = {"forces": "forces", "energy": "per_atom_energy", "stress": "stress"}
NAMES = {"forces": "forces, meV/Å", "energy": "energies, meV/atom", "stress": "stresses, meV/Å³"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="of races, with trained winners in their folder test")
    races = {folder.name: _race(folder) for folder in parser.parse_args().folders}
    json.dump(races, sys.stdout, indent=1, ensure_ascii=False)
    print("| race | winner | errors of | foreseen MAE | on the test set | holds it |", file=sys.stderr)
    print("| --- | --- | --- | ---: | ---: | --- |", file=sys.stderr)
    for name, race in races.items():
        for kind, found in race["expected"].items():
            print(
                f"| {name} | {race['winner']} | {NAMES[kind]} | {_cells(found, race['test'][kind])} |", file=sys.stderr
            )


def _race(folder: Path) -> dict[str, Any]:
    race = read_json(folder / "race.json")
    tested = test_errors(folder / "test")[0]
    found = {kind: {part: tested[f"{name}_{part}"] for part in ("mae", "rmse")} for kind, name in METRICS.items()}
    return race | {"test": found}


def _cells(found: dict[str, Any], tested: dict[str, float]) -> str:
    interval, error = found["mae_of_all"], tested["mae"]
    low, middle, high = (1000 * interval[name] for name in ("low", "middle", "high"))
    holds = "yes" if low <= 1000 * error <= high else "no"
    return f"{middle:.1f} ({low:.1f} to {high:.1f}) | {1000 * error:.1f} | {holds}"


if __name__ == "__main__":
    main()
