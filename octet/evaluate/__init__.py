"""How accurate a model is: ncnn on a split of the data set, and what it predicted for each image."""
