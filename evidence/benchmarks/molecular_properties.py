"""How far are a model's molecules off? Bonds, angles, vibrations and torsions beside GFN2-xTB, measured as in a study.

    python evidence/benchmarks/molecular_properties.py runs/xtb_si/best.ckpt data/xtb/Si_minima.xyz Si

Molecules that the trainings of the examples saw, and those that they did not, are told of apart.
"""

import argparse
import tempfile
from pathlib import Path

from nequip_elemtransfer.data.xtb import SEEN, UNSEEN, gfn2_calculator
from nequip_elemtransfer.study.config.evaluation_settings import MoleculeFile
from nequip_elemtransfer.study.measure.measurements import molecular_properties, molecules_in
from nequip_elemtransfer.study.measure.one_evaluation import trained_calculator
from nequip_elemtransfer.study.quantities import BOND_ANGLES, BOND_LENGTHS, DEVIATIONS, TORSIONS, WAVENUMBERS
from nequip_elemtransfer.study.report.property_errors import deviation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="checkpoint of nequip-train")
    parser.add_argument("minima", help="molecules at their minima, as `data xtb` writes them")
    parser.add_argument("element", help="whose bonds are compared")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = trained_calculator(args.model, "eager", Path(folder))
    for which in (SEEN, UNSEEN):
        molecules = molecules_in(MoleculeFile(args.minima, args.element, {"molecules": which}))
        own, known = (molecular_properties(molecules, args.element, c) for c in (model, gfn2_calculator()))
        print(f"{which}: {len(molecules)} molecules")
        for name in (BOND_LENGTHS, BOND_ANGLES, WAVENUMBERS, TORSIONS):
            print(f"  {DEVIATIONS[name]}: {deviation(name, own[name], known[name]):.4g}")
        for name, reason in own["failed"].items():
            print(f"  failed: {DEVIATIONS[name]}: {reason}")


if __name__ == "__main__":
    main()
