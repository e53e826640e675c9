"""The out-of-target quantities of a study: names in its files, and what a reader sees."""

SURFACES = ("100", "110", "111")

# single numbers
VALUES = {
    "lattice_constant": "lattice constant (Å)",
    "bulk_modulus": "bulk modulus (GPa)",
    "C11": "C11 (GPa)",
    "C12": "C12 (GPa)",
    "C44": "C44 (GPa)",
    "highest_phonon": "highest phonon (THz)",
    "lowest_phonon": "lowest phonon (THz)",
    "vacancy_formation_energy": "vacancy formation energy (eV)",
    **{f"surface_energy_{hkl}": f"surface energy ({hkl}) (J/m²)" for hkl in SURFACES},
}
# functions, given by their deviation from the reference's
EQUATION_OF_STATE, PHONONS = "equation_of_state", "phonons"
BOND_LENGTHS, BOND_ANGLES, WAVENUMBERS, TORSIONS = "bond_lengths", "bond_angles", "wavenumbers", "torsions"
DEVIATIONS = {
    EQUATION_OF_STATE: "equation of state, RMSE (meV/atom)",
    PHONONS: "phonon bands, RMSE (THz)",
    BOND_LENGTHS: "bond lengths, mean deviation (Å)",
    BOND_ANGLES: "bond angles, mean deviation (°)",
    WAVENUMBERS: "harmonic wavenumbers, mean deviation (%)",
    TORSIONS: "torsion profiles, RMSE (meV)",
}
RDF, ADF, MSD = "rdf", "adf", "msd"
STRUCTURE = {
    RDF: "g(r), mean deviation",
    ADF: "bond angles, mean deviation (1/degree)",
    MSD: "mean-square displacement, deviation (Å²)",
}
