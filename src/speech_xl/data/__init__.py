"""From corpora to batches: cuts, tasks, sessions, partitions, datasets and samplers."""
