"""From an mmcls config and a checkpoint to ONNX and to the pre-processing that all later stages read."""
