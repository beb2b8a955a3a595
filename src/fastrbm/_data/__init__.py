"""Rows of visible states, whatever form they come in."""
