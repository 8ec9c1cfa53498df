"""mmcls's model zoo by name."""
