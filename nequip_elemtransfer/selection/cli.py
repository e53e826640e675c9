"""The command ``nequip-elemtransfer select``."""

import argparse
from pathlib import Path
from typing import Any

from nequip_elemtransfer.optional_packages import require_select
from nequip_elemtransfer.output.arguments import add_element_options, pairs, parse_lengths, parse_start
from nequip_elemtransfer.output.atomic import require_writable, written_together
from nequip_elemtransfer.output.paths import require_source
from nequip_elemtransfer.structures.options import add_data_options, data_options
from nequip_elemtransfer.structures.specs import require_structures


def add_select(commands: Any) -> None:
    """Declare the command."""
    select = commands.add_parser(
        "select",
        help="choose which structures to compute",
        description="Choose those of CANDIDATES that differ most, to the source, from each other and from what is "
        "labelled already; write them, inputs for DFT codes, and a page with a map.",
    )
    select.add_argument("candidates", metavar="CANDIDATES", help="any file that ASE reads; labels in it are not used")
    select.add_argument("--model", required=True, metavar="SOURCE", help="the source, as in the key")
    add_element_options(select)
    select.add_argument("--number", type=int, default=10, metavar="N", help="structures to choose (default: 10)")
    select.add_argument("--have", metavar="FILE", help="labelled structures, which count as chosen")
    add_data_options(select)
    select.add_argument(
        "--pooling", default="mean+spread", metavar="HOW", help="of the atoms' features: mean, or mean+spread (default)"
    )
    select.add_argument(
        "--out", type=Path, required=True, metavar="FILE.xyz", help="extended XYZ file to write, and a page FILE.html"
    )
    select.add_argument("--write", nargs="+", default=[], metavar="CODE", help="inputs of vasp, espresso, cp2k, aims")
    select.add_argument("--folder", type=Path, metavar="DIR", help="new folder for the inputs")
    select.add_argument("--force", action="store_true", help="replace FILE.xyz and FILE.html if they exist")
    select.set_defaults(run=_run_select)


def _run_select(args: argparse.Namespace) -> None:
    require_structures(args.candidates, args.have)
    require_source(args.model)
    page = args.out.with_suffix(".html")
    for path in (args.out, page):
        require_writable(path, args.force)
    require_select()
    import ase.io

    from nequip_elemtransfer.selection.inputs import check_inputs, write_inputs
    from nequip_elemtransfer.selection.report import selection_page
    from nequip_elemtransfer.selection.selecting import select_structures
    from nequip_elemtransfer.transfer.start import unlabelled_config

    check_inputs(args.write, args.folder)
    config = unlabelled_config(
        args.model,
        pairs("--elements", args.elements, parse_start),
        parse_lengths(args.length_scale),
        pairs("--chemical-species", args.chemical_species, str),
    )
    found = select_structures(
        args.candidates,
        config,
        args.number,
        have=args.have,
        options=data_options(args),
        pooling=args.pooling,
        progress=True,
    )
    structures = found.structures()
    with written_together([args.out, page], force=args.force) as (staged, staged_page):
        ase.io.write(staged, structures, format="extxyz")
        staged_page.write_text(selection_page(found, args.candidates, args.model, args.have), encoding="utf-8")
        if args.folder is not None:
            write_inputs(structures, args.write, args.folder)
    for sentence in found.said:
        print(sentence)
    print(f"{args.out}: {len(structures)} of {len(found.candidates)} candidates, {len(found.copies)} of them copies")
    low, high = found.random_reach
    print(f"Farthest candidate left: {found.reach:.3g}; with as many at random {low:.3g} to {high:.3g}.")
    print(f"{page}: map of the feature space")
    if args.folder is not None:
        print(f"{args.folder}: inputs for {', '.join(args.write)}; set cutoffs, k-points and pseudopotentials there.")
