"""ASE calculators that a YAML file names, in processes of their own: NequIP's settings of PyTorch are not theirs."""
