"""Counts of n-grams, the probabilities that follow from them, and the automaton that is mixed into a network."""
