"""A user's project: entries of params.yaml, what is fetched for them, the environment, and what made a model."""
