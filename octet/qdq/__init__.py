"""Octet's int8 for engines that read ONNX: QuantizeLinear and DequantizeLinear around what each engine computes in int8.

profiles.py   what each engine wants quantized
network.py    the fp32 ONNX model as it is quantized: constants, folded batch norms, layers with weights
placement.py  which tensors and layers of a network are quantized for a profile, and what stays in float
ranges.py     one pass over the images in ONNX Runtime: what each tensor reaches
grids.py      from a tensor's range to its scale and zero point, by Octet's calibrators
trained.py    the scales that a model was trained with
weights.py    the weights' integers; gptq.py: chosen together, windows.py: from what a convolution reads
biases.py     what takes up the mean error of layers that GPTQ does not choose
write.py      the int8 ONNX model
costs.py      what each int8 layer costs
mobile.py     what ONNX Runtime's smallest package for phones lacks of a model's operators
words.py      what the stage says of a model
quantize.py   all of it, from a model's files to the int8 file, checked
"""
