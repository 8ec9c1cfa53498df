"""What is true of an ncnn network whatever the stage: kinds of layers, origins of blobs, targets, zero points."""
