"""Other forms, for export alone, of what mmcls computes: the same numbers by operators that pnnx and ncnn have.

ncnn's blobs have at most four axes beside the batch, and pnnx, which does not know the batch, guesses it from axis 0. So
all of these keep axis 0 at 1 and at most four axes beside it. export compares the result with the untouched model.
"""
