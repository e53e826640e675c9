"""Target types over source types, and the tensors that follow them."""
