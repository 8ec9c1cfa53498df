"""tune: the fastest kernel for each layer, measured on the device."""
