"""The test suite; a regular package, so that no `tests` package of some dependency is imported in its place."""
