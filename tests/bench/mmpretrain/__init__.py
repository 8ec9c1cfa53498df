"""Octet beside mmpretrain itself: pre-processing and logits of the same checkpoints. `make bench-mmpretrain` runs it."""
