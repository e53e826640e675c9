"""The main path of the docs, command by command as they stand there, on a model and structures of one's own.

    python demo/path.py SOURCE STRUCTURES [--test FILE] [--elements Ge=Si] [--out runs/path]

Runs docs/tutorial/main_path.sh in a new folder and says how long each command took.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = Path(__file__).resolve().parent.parent / "docs" / "tutorial" / "main_path.sh"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="trained model, a .ckpt file")
    parser.add_argument("structures", type=Path, metavar="STRUCTURES", help="of the target, labelled")
    parser.add_argument("--test", type=Path, help="structures to look at the model with (default: STRUCTURES)")
    parser.add_argument("--elements", default="Ge=Si", help="default: Ge=Si")
    parser.add_argument("--out", type=Path, default=Path("runs/path"), help="new folder (default: runs/path)")
    args = parser.parse_args()
    files = {"si.ckpt": args.source, "ge.xyz": args.structures, "ge_test.xyz": args.test or args.structures}
    for file in files.values():
        if not file.is_file():
            raise SystemExit(
                f"{file} does not exist: `make demo` makes a model of silicon and structures of germanium."
            )
    if args.out.exists():
        raise SystemExit(f"{args.out} exists already: give another --out, nothing is written over.")
    args.out.mkdir(parents=True)
    for name, file in files.items():
        shutil.copyfile(file, args.out / name)
    started = time.monotonic()
    seconds = [run(command.replace("Ge=Si", args.elements), args.out) for command in commands()]
    for command, taken in zip(commands(), seconds):
        print(f"{taken:7.1f} s  {command}")
    print(f"{time.monotonic() - started:7.1f} s  in all, {len(seconds)} commands")


def commands() -> list[str]:
    """Those of the docs."""
    return [line for line in COMMANDS.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def run(command: str, folder: Path) -> float:
    """Run a command of this environment in a folder, as a shell does, and give the seconds that it took."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PATH": path, "PWD": str(folder.resolve())}
    print(f"$ {command}", flush=True)
    started = time.monotonic()
    words = [word.replace("$PWD", environment["PWD"]) for word in shlex.split(command)]
    subprocess.run(words, cwd=folder, env=environment, check=True)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
