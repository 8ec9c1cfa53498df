"""What each int8 layer costs, in its own output and in the final probabilities."""
