"""Calibration: which scale makes a layer's input int8, and which its weights."""
