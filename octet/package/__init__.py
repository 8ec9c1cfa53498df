"""package: the int8 model as one zip, with everything that somebody needs to run it and to trust it."""
