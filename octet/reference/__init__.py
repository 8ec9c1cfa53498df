"""The embedded models and their data set: digits32.py draws it, train.py trained them."""
