"""What the models in ``fixtures/`` are trained with: the versions, and the options of their configurations."""

COMMON = {
    "root": "runs",
    "run_name": "old",
    "seed": 1,
    "dataset_seed": 1,
    "dataset": "ase",
    "dataset_file_name": "train.xyz",
    "n_train": 6,
    "n_val": 2,
    "batch_size": 3,
    "max_epochs": 2,
    "learning_rate": 0.02,
    "optimizer_name": "Adam",
    "loss_coeffs": {"forces": 1, "total_energy": [1, "PerAtomMSELoss"]},
    "metrics_key": "validation_loss",
    "r_max": 3.6,
    "num_layers": 2,
    "l_max": 1,
    "parity": True,
    "num_features": 3,
    "num_basis": 4,
    "invariant_layers": 1,
    "invariant_neurons": 5,
}
SILU = {"nonlinearity_scalars": {"e": "silu", "o": "tanh"}, "nonlinearity_gates": {"e": "silu", "o": "tanh"}}
BUILDERS = ["SimpleIrrepsConfig", "EnergyModel", "PerSpeciesRescale", "StressForceOutput", "RescaleEnergyEtc"]

# In a short training, what another sign of a Wigner 3j tensor does is small: the weights of these are made large after.
LARGE = {r"fc\.layer\d+": 3.0, r"linear_[12]": 1.5}

# name: versions of NequIP and e3nn, whether it is deployed too, options
CASES = {
    # the defaults of 0.6: float32 network, trained roots, one global scale, shift per type
    "v061_si": ("0.6.1", "0.5.9", True, {"chemical_symbols": ["Si"], "parity": False}),
    # NequIP 0.5 in its own precision, one layer that is the first and the last
    "v056_si": (
        "0.5.6",
        "0.5.9",
        True,
        {"chemical_symbols": ["Si"], "num_layers": 1, "model_builders": BUILDERS, **SILU},
    ),
    # scales and shifts per type, both trained, averaged weights, roots that are not trained
    "v061_hco_l2": (
        "0.6.1",
        "0.5.9",
        False,
        {
            "chemical_symbols": ["O", "C", "H"],
            "l_max": 2,
            "model_dtype": "float64",
            "BesselBasis_trainable": False,
            "PolynomialCutoff_p": 5,
            "per_species_rescale_scales": [1.1, 0.7, 1.4],
            "per_species_rescale_shifts": [-1.0, -2.5, -0.4],
            "per_species_rescale_scales_trainable": True,
            "per_species_rescale_shifts_trainable": True,
            "use_ema": True,
        },
    ),
    # more types than features, without parity, norm nonlinearity
    "v056_hco_l2": (
        "0.5.6",
        "0.5.9",
        False,
        {
            "type_names": ["Hydrogen", "Carbon", "Oxygen"],
            "chemical_symbol_to_type": {"H": 0, "C": 1, "O": 2},
            "l_max": 2,
            "parity": False,
            "num_features": 2,
            "default_dtype": "float64",
            "nonlinearity_type": "norm",
            "model_builders": BUILDERS,
            **SILU,
        },
    ),
    # l_max 3, deep radial networks, other nonlinearities, `resnet` in a network that is too shallow for it to act
    "v061_si_l3": (
        "0.6.1",
        "0.5.9",
        False,
        {
            "chemical_symbols": ["Si"],
            "l_max": 3,
            "num_features": 2,
            "num_layers": 3,
            "resnet": True,
            "invariant_layers": 2,
            "nonlinearity_scalars": {"e": "silu", "o": "tanh"},
            "nonlinearity_gates": {"e": "ssp", "o": "abs"},
            "model_dtype": "float64",
            "global_rescale_scale": 1.7,
            "per_species_rescale_shifts": None,
        },
    ),
    # l_max 3 without parity and self-connections, no rescaling at all
    "v056_si_l3": (
        "0.5.6",
        "0.5.9",
        False,
        {
            "chemical_symbols": ["Si"],
            "l_max": 3,
            "parity": False,
            "num_features": 2,
            "use_sc": False,
            "default_dtype": "float64",
            "nonlinearity_scalars": {"e": "silu", "o": "tanh"},
            "nonlinearity_gates": {"e": "tanh", "o": "abs"},
            "model_builders": ["SimpleIrrepsConfig", "EnergyModel", "StressForceOutput"],
        },
    ),
    # a pair potential besides scales and shifts
    "v061_sic_zbl": (
        "0.6.1",
        "0.5.9",
        False,
        {
            "chemical_symbols": ["Si", "C"],
            "pair_style": "ZBL",
            "units": "metal",
            "model_dtype": "float64",
            "per_species_rescale_scales": "dataset_forces_rms",
            "model_builders": [*BUILDERS[:3], "PairPotentialTerm", *BUILDERS[3:]],
        },
    ),
    # another sign of the Wigner 3j tensors (1, 2, 2), which four layers with parity are the first to feel
    "e3nn04_sic_l2": (
        "0.6.1",
        "0.4.4",
        True,
        {
            "chemical_symbols": ["Si", "C"],
            "l_max": 2,
            "num_layers": 4,
            "num_features": 2,
            "model_dtype": "float64",
        },
    ),
    # and of (1, 3, 3), with NequIP 0.5
    "e3nn04_si_l3": (
        "0.5.6",
        "0.4.4",
        False,
        {
            "chemical_symbols": ["Si"],
            "l_max": 3,
            "num_layers": 4,
            "num_features": 1,
            "num_basis": 3,
            "invariant_neurons": 3,
            "default_dtype": "float64",
            "model_builders": BUILDERS,
            **SILU,
        },
    ),
}
