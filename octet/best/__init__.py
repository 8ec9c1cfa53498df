"""best: the fastest int8 of a model that keeps a budget of loss, found by measuring.

candidates.py says what is tried in which order, loss.py and speed.py what is measured of each, experiments.py runs one as a
DVC experiment, record.py remembers it all, front.py chooses, plot.py draws, search.py is the loop, entry.py writes params.yaml.
"""
