"""Every fenced block of README.md and docs/ is run: see test_pages.py for what that means, block by block."""
