"""predict: torch, ncnn fp32 and ncnn int8 on single images, side by side."""
