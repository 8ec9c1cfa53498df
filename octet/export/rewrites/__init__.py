"""Other forms, for export alone, of what mmcls computes: the same numbers by operators that pnnx and ncnn have.

To add one, put a file into this folder. It is found there: octet.export.apply_rewrites takes what every file has of

- REWRITES: from the class that defines a forward, as "module.Class", to the function that runs in its place, with the
  same arguments. A class that inherits the forward is rewritten too, one that overrides it is not.
- OPERATORS: from an operator of torch, as "aten::sum", to the function that writes its ONNX, as
  torch.onnx.register_custom_op_symbolic takes it.

A file whose name begins with _ only helps the others. Two rules:

- Axis 0 stays 1, and at most four axes are beside it: ncnn's blobs have no more, and pnnx, which does not know the batch,
  guesses it from axis 0.
- Sizes are numbers (_tensors.sizes), and what depends on the weights alone is a constant (_tensors.constant): what torch
  would trace instead, pnnx cannot fold.

export compares the logits with those of the untouched model. A tiny network of the family goes into
tests/pipeline/test_families.py, which holds that the rewrite computes the same, converts, and runs in int8.
"""
