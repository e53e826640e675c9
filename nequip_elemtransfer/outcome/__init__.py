"""What a training left: errors along it, and what its model was trained on."""
