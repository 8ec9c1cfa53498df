"""The embedded models and data: how they were trained and drawn."""
