"""Octet: from a trained OpenMMLab classifier to ncnn int8, with the figures that prove it."""
