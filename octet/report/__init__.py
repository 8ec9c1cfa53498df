"""report: one HTML page a model, whole in itself, made from existing figures and from git's history."""
