"""What every room shares. This room knows no other.

errors.py       the one exception that a user's mistake raises; interrupt.py: Ctrl-C
files.py        files that are whole or absent, JSON and CSV; folder.py: the named paths of a model's files
params.py       params.yaml; fields.py and check.py: what is asked and how it is checked; renaming.py: older names
yaml.py         the one dialect of YAML; registry.py: choices that follow from which files there are
places.py       where configs may lie; preprocessing.py: what an entry without one says happens to an image
stage.py        what every stage script shares
parallel.py     work spread over threads; shards.py: how it is divided; cluster.py: a Dask cluster's workers
engines/        ONNX Runtime and OpenVINO, behind the interface of octet.ncnn.engine.Engine; onnx_bytes.py: an ONNX model
logits.py       how the logits of two models are compared; outputs.py: outputs that are no class scores
pickles.py      pickles read without running them; pickle_reader.py, pickle_instructions.py, pickled_arrays.py: how
text.py         tables and names that fit; progress.py: bars on a terminal
"""

from octet.core import interrupt

if interrupt.is_own_command():
    interrupt.leave_at_once()
