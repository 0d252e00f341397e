"""What the extensions' tests share with those of the data and the phases: tiny models and corpora."""

from tests.data.conftest import tiny_corpus
from tests.phases.conftest import folders

__all__ = ["folders", "tiny_corpus"]
