"""Engines beside ncnn, behind one interface: octet.ncnn.engine.Engine is the other one that has it.

files.py         the models' files, and layers.json, which says of each what is int8 and its checksum
engine.py        what all share: from a file and a number of threads to what computes logits
onnx_runtime.py  ONNX Runtime
open_vino.py     OpenVINO, an extra that `make openvino` installs
"""
