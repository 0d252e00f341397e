"""Public benchmarks: their scorers as named profiles, figures that others have published, tables beside them."""
