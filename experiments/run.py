#!/usr/bin/env python3
"""Run an experiment: `python experiments/run.py {fit,validate,test,predict} -c stage2.yaml` (--help says more).

The same as `speech-xl fit -c stage2.yaml`, without an installation's entry point.
"""

import sys
from pathlib import Path

from speech_xl.run.experiment_command import run_experiment
from speech_xl.run.user_errors import exit_on_user_error


def main(argv: list[str], experiments: Path) -> None:
    """Run one command. What a user can mend ends with a message and exit status 2."""
    with exit_on_user_error():
        run_experiment(argv, experiments, program="python experiments/run.py")


if __name__ == "__main__":
    main(sys.argv[1:], experiments=Path(__file__).resolve().parent)
