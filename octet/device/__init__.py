"""The device itself: a runner that is built from pip alone, how to reach a phone or board, and its figures."""
