"""torch networks as ONNX models. The oracle is torch itself."""

import numpy as np
import onnxruntime
import pytest
import torch

from octet.export.onnx_model import to_onnx

pytestmark = pytest.mark.unit


class Attention(torch.nn.Module):
    """torch's own attention over the columns of an image, as torchvision's ViT has it."""

    def __init__(self):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(12, 3, batch_first=True)

    def forward(self, x):
        rows = x.flatten(1, 2).transpose(1, 2)
        return self.attention(rows, rows, rows, need_weights=False)[0].flatten(1)


def test_torch_s_own_attention_is_written_by_operators_that_onnx_has():
    network = Attention().eval()
    data = to_onnx(network, (3, 4, 5), 13, "net")
    x = torch.randn(1, 3, 4, 5)
    with torch.no_grad():
        wanted = network(x).numpy()
    actual = onnxruntime.InferenceSession(data).run(None, {"input": x.numpy()})[0]
    assert np.abs(actual - wanted).max() < 1e-5
    assert torch.backends.mha.get_fastpath_enabled()
