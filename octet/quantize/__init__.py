"""The int8 model: which layers are int8, their weights' integers, and ncnn's int8 files."""
