"""The command line: experiment files to stages, run folders, lineage, and what a user can mend."""
