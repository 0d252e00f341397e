"""Phase 2, modal alignment: captions and questions beside transcription, still without compression."""

from speech_xl.phases.phase import Phase


class ModalAlignment(Phase):
    """Captions and Q&A on whole sessions; which tasks, in which shares, is the data module's `tasks`.

    Everything as in `Phase`: tasks are text, and what trains is `trainable`.
    """
