"""The papers' claims beside their baselines, at equal steps: rows of `docs/claims.md`."""
