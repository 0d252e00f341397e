"""Tables of the documentation, generated from docs/results/*.json between two markers of a page."""
