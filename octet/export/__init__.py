"""From an mmcls config and a checkpoint to ONNX and to the pre-processing that all later stages read.

export.py          both, compared with torch
mmcls_model.py     the config, and the network that mmcls builds from it
mmcls_pipeline.py  the config's test pipeline as a Preprocess
checkpoint.py      the weights; torch_file.py, stored_tensors.py: torch.save's files, read without running them
onnx_model.py      the network as ONNX
rewrites/          what pnnx and ncnn lack, by other operators: one file a family; apply_rewrites.py runs them
"""
