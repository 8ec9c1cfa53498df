"""predict: torch, ncnn fp32 and ncnn int8 on single pictures, side by side."""
