"""tune: the fastest kernel for each layer, measured on the device; needs Python, ncnn and numpy alone."""
