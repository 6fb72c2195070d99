"""Counts of n-grams, the probabilities that follow from them, and the automaton that a network is added to."""
