"""The training that carries out a plan: its loss, its config, and the files that it reads."""
