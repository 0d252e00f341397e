"""From generated answers to numbers: predictions on disk, error rates with confidence intervals, reports."""
