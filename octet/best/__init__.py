"""best: the fastest int8 of a model that keeps a budget of loss, found by measuring.

candidates.py says what is tried in which order, and tuning.py adds a target of the tuner's. experiments.py runs one as a DVC
experiment in a copy by project_copy.py, and process.py sees that DVC ends with the search; judge.py, loss.py and speed.py measure
it; record.py remembers it, under what inputs.py (with versions.py) and kernels.py say that it depends on. search.py is the loop,
front.py chooses, plot.py draws, command.py is the verb.
"""
