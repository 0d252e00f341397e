"""Data sets of the Hugging Face Hub, downloaded file by file into a folder: an interrupted download goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm

CONNECTIONS = 8


def download_dataset(
    repo: str, target_dir: str | Path, patterns: Sequence[str] | None, force_download: bool = False
) -> Path:
    """Download the files of a data set whose paths match one of the patterns (None: all), with progress bars.

    Files that are whole in `target_dir` already are not downloaded again, unless `force_download`. Returns
    `target_dir`. Raises OSError with the mend where the Hub can't be reached or refuses, and ValueError where no file
    matches.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import filter_repo_objects

    allowed = None if patterns is None else list(patterns)
    with _explained(repo, target_dir):
        # Asked for first: where the Hub can't be reached, snapshot_download takes whatever is in the folder.
        commit = HfApi().dataset_info(repo).sha
        names = HfApi().list_repo_files(repo, repo_type="dataset", revision=commit)
        if not any(filter_repo_objects(names, allow_patterns=allowed)):
            raise ValueError(f"{repo} has no files like {', '.join(allowed or ['*'])}; it may have been laid out anew")
        snapshot_download(
            repo,
            repo_type="dataset",
            revision=commit,
            local_dir=target_dir,
            allow_patterns=allowed,
            force_download=force_download,
        )
    return Path(target_dir)


def download_files(repo: str, target_dir: str | Path, names: Iterable[str], force_download: bool = False) -> Path:
    """Download these files of a data set, however many, with one progress bar; otherwise as `download_dataset`.

    Raises OSError, which names the first file that can't be downloaded.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    target = Path(target_dir)
    wanted = [name for name in dict.fromkeys(names) if force_download or not (target / name).is_file()]

    def download(name: str) -> None:
        with _explained(f"{repo}/{name}", target, repo):
            hf_hub_download(repo, name, repo_type="dataset", local_dir=target, force_download=force_download)

    quiet = are_progress_bars_disabled()
    disable_progress_bars()  # one a file; there are thousands
    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        for _ in tqdm(pool.map(download, wanted), total=len(wanted), desc=f"downloading {repo}", unit="file"):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
        if not quiet:
            enable_progress_bars()
    return target


@contextmanager
def _explained(what: str, target_dir: str | Path, repo: str | None = None) -> Iterator[None]:
    """Turn what the Hub or the network refuses inside the block into an OSError with the mend."""
    # The HTTP client's errors come through where there is no connection; which client it is depends on the release.
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    try:
        yield
    except (OSError, HTTPError) as error:
        lines = str(error).strip().splitlines()
        raise OSError(
            f"can't download {what} from the Hugging Face Hub to {target_dir} ({lines[0] if lines else error!r}); "
            "check the network, the room on the disk, and that you may read https://huggingface.co/datasets/"
            f"{repo or what} (log in with `hf auth login` where it asks for consent); then run the same command again: "
            "it goes on where it stopped"
        ) from error
