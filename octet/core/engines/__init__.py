"""Engines beside ncnn, behind one interface: octet.ncnn.engine.Engine is the other one that has it.

engine.py        what all share: from a file and a number of threads to what computes logits
onnx_runtime.py  ONNX Runtime
open_vino.py     OpenVINO, an extra that `make openvino` installs
"""
