"""The `speech-xl` command: argparse and printing only."""
