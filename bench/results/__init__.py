"""Accuracies of `docs/results.md`: which there are, how each is measured, and the table."""
