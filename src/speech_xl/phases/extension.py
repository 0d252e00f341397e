"""PhaseExtension: a change of the training text, or an auxiliary loss, that a phase may be given. By default none."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from speech_xl.data.batch import SpeechBatch
from speech_xl.model import SpeechLLM
from speech_xl.model.prompt import Suffix
from speech_xl.model.speech import Speech, TokenStates


@dataclass
class AuxiliaryLoss:
    """One batch's auxiliary loss.

    weighted  a mean over what it is about, times its weight (a scalar)
    logged    name -> value, for the curves train/NAME
    count     over how many answers or sessions the logged values are means
    """

    weighted: Tensor
    logged: dict[str, Tensor | float] = field(default_factory=dict)
    count: int = 1


class PhaseExtension(nn.Module):
    """Base of `model.extensions`. One of each class may be given; its parameters are `extensions.CLASS.*`.

    Parameters of an extension train where a pattern of `trainable` matches them. Checkpoints hold them; the weights
    that the next stage starts from don't.
    """

    reads_states = False  # whether the LLM's hidden states are kept for `states_loss`

    def build(self, backbone: SpeechLLM) -> None:
        """Make the parameters, for a backbone that is built and has no SSTs yet."""

    def training_text(self, suffix: Suffix, name: str, epoch: int, seed: int) -> Suffix:
        """The instructions and answers that a cut is trained on. name: the cut's id; seed: the phase's."""
        return suffix

    def loss(self, backbone: SpeechLLM, batch: SpeechBatch, speech: Speech, step: int) -> AuxiliaryLoss | None:
        """What is added to the mean loss of a batch. step: optimizer steps so far."""
        return None

    def states_loss(
        self, backbone: SpeechLLM, batch: SpeechBatch, states: TokenStates, step: int
    ) -> AuxiliaryLoss | None:
        """As `loss`, of what the LLM makes of the batch's tokens; asked where `reads_states`."""
        return None


def losses_of(
    extensions: Iterable[PhaseExtension],
    backbone: SpeechLLM,
    batch: SpeechBatch,
    speech: Speech,
    states: TokenStates | None,
    step: int,
) -> Iterator[AuxiliaryLoss]:
    """The auxiliary losses of a batch. states: of its training pass, None where no extension reads them."""
    for extension in extensions:
        found = [extension.loss(backbone, batch, speech, step)]
        if extension.reads_states and states is not None:
            found.append(extension.states_loss(backbone, batch, states, step))
        yield from (one for one in found if one is not None)


def by_class(extensions: Sequence[PhaseExtension]) -> dict[str, PhaseExtension]:
    """Class name -> extension, in the order given. Raises ValueError where a class is there twice."""
    found = {type(extension).__name__: extension for extension in extensions}
    if len(found) < len(extensions):
        names = ", ".join(type(extension).__name__ for extension in extensions)
        raise ValueError(f"model.extensions: got {names}; give one of each class at most")
    return found


def check_trained(extensions: Iterable[PhaseExtension]) -> None:
    """Raises ValueError where an extension has parameters, which are random, and none of them trains."""
    for extension in extensions:
        parameters = list(extension.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            name = type(extension).__name__
            raise ValueError(
                f"model.extensions: {name} has random parameters and nothing trains them; add "
                f'"extensions.{name}.*" to model.trainable, or take {name} out'
            )
