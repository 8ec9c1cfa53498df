"""What every room shares: errors, files, progress, parameters, a stage's arguments and paths, work spread over cores."""
