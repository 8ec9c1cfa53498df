"""fp32 beside int8: one summary of what the other stages measured."""
