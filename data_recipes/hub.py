"""Data sets of the Hugging Face Hub, downloaded file by file into a folder: an interrupted download goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def download_dataset(
    repo: str, target_dir: str | Path, patterns: Sequence[str] | None, force_download: bool = False
) -> Path:
    """Download the files of a data set whose paths match one of the patterns (None: all), with progress bars.

    Files that are whole in `target_dir` already are not downloaded again, unless `force_download`. Returns
    `target_dir`. Raises OSError with the mend where the Hub can't be reached or refuses.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(
            repo,
            repo_type="dataset",
            local_dir=target_dir,
            allow_patterns=None if patterns is None else list(patterns),
            force_download=force_download,
        )
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OSError(
            f"can't download {repo} from the Hugging Face Hub to {target_dir} ({reason}); check the network and the "
            f"room on the disk, and that you may read https://huggingface.co/datasets/{repo} (log in with `hf auth "
            "login` where it asks for consent); then run the same command again: it goes on where it stopped"
        ) from error
    return Path(target_dir)
