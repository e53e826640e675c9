"""The start of a plan: cross-validation, the ladder of errors, λ, the ranking of starts, calculators beside it."""
