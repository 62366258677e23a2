"""Classification: the head, and the figures that measure its scores."""
