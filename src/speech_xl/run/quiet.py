"""What says nothing about a run is silenced, each by its own words, so that anything new is still heard."""

import logging
import warnings


def quieten() -> None:
    """Silence what says nothing about the run; each by its own words, so that anything new is still heard."""
    # We hand arguments over on purpose: configs' names are resolved, and stages' flags taken out.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
    # Lightning 2.6 with torch 2.13: between those two.
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.* is deprecated", category=FutureWarning)
    # A resumed run has checkpoints; one that starts over says so itself.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # A frozen encoder stays in eval mode, so that its frames can be kept.
    warnings.filterwarnings("ignore", message="Found .* module.* in eval mode at the start of training")
    # Predictions go to a file, not through Lightning.
    warnings.filterwarnings("ignore", message="predict returned None if it was on purpose")
    # Advice about keyword arguments a model does not use, and the like.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_no_advertisement)


def _no_advertisement(record: logging.LogRecord) -> bool:
    """False for Lightning's tips to install further products (litlogger, litmodels)."""
    return "Tip: For seamless cloud" not in record.getMessage()
