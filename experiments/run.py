#!/usr/bin/env python3
"""Run an experiment: `python experiments/run.py {fit,validate,test,predict} -c stage2.yaml` (--help says more)."""

import sys
from pathlib import Path

from speech_xl.cli import main

if __name__ == "__main__":
    main(sys.argv[1:], experiments=Path(__file__).resolve().parent)
