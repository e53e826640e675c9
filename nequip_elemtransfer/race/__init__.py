"""Which start, how many steps, what errors: starts trained against each other on folds of a user's own structures."""
