"""On a GPU: compiled FlexAttention and every other path yield there what they yield elsewhere.

CPU tests hold the paths together in float64; here they run in float32 and under bfloat16 autocast, on the kernels that
CPUs don't have. Heads are 64 wide, as real ones are: compiled FlexAttention doesn't take every width.
"""

import pytest
import torch

from experiments.measurements.two_paths import INTERVALS, RATIOS, SCHEMES, TURNS, gradients, sample, streamed
from experiments.random_models import audio, encoder_folder, listener, llm_folder, row_of, suffixes
from speech_xl.model import HFEncoder, Listener
from tests.model.test_listener import INTERVAL, SECONDS, WHAT, WHO, backbone, compress_interval, same

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
    pytest.mark.filterwarnings("error:.*flex_attention called without torch.compile"),  # its slow stand-in
]
FAMILIES = ["qwen2", "llama", "gemma3"]


@pytest.fixture
def device():
    return torch.device("cuda")


@pytest.fixture(autouse=True)
def no_shortcuts(monkeypatch):
    """Multiply float32 as float32, and rather fail than run FlexAttention uncompiled after too many shapes."""
    import torch._dynamo.config as dynamo

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with dynamo.patch(recompile_limit=64, fail_on_recompile_limit_hit=True):  # pyright: ignore[reportAttributeAccessIssue]
        yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("llms")
    return {kind: llm_folder(root / kind, kind, head_dim=64) for kind in FAMILIES}


def made(folder, device, **options):
    """`listener` in float32."""
    return listener(folder, **options).to(device, torch.float32)


def heard_on(device):
    return sample(device, torch.float32)


def assert_close(left, right):
    """Losses to 1e-4 of them, gradients to 1e-3 of each tensor's largest entry."""
    assert left[0] == pytest.approx(right[0], rel=1e-4)
    assert left[1].keys() == right[1].keys()
    for name, value in left[1].items():
        scale = max(1.0, value.abs().max().item())
        assert (value - right[1][name]).abs().max().item() <= 1e-3 * scale, name


def test_auto_means_flex_on_a_gpu(folders, device):
    assert made(folders["qwen2"], device).llm.flex


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_equals_streaming_in_value_and_gradient(folders, device, family, scheme):
    model = made(folders[family], device, positions=scheme)
    asked = suffixes(model, *TURNS)
    one = gradients(model, heard_on(device), lambda heard: model(heard, RATIOS, asked).loss_sum)
    assert_close(one, gradients(model, heard_on(device), lambda heard: streamed(model, heard, RATIOS, asked)))
    assert all(one[1][f"frames {row}"].abs().max() > 0 for row in range(len(INTERVALS)))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_flex_and_sdpa_give_equal_losses(folders, device, family, scheme):
    losses = []
    for attention in ("flex", "sdpa"):
        model = made(folders[family], device, positions=scheme, attention=attention)
        losses.append(model(heard_on(device), RATIOS, suffixes(model, *TURNS)).loss_sum.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_batch_equals_its_rows_alone(folders, device, scheme):
    model = made(folders["qwen2"], device, positions=scheme)
    asked = suffixes(model, *TURNS)
    batch = gradients(model, heard_on(device), lambda heard: model(heard, RATIOS, asked).loss_sum)
    total, sums = 0.0, {}
    for row in range(len(INTERVALS)):
        lone = row_of(heard_on(device), row)
        loss, grads = gradients(model, lone, lambda heard, r=row: model(heard, [RATIOS[r]], [asked[r]]).loss_sum)
        grads[f"frames {row}"] = grads.pop("frames 0")
        total += loss
        for name, grad in grads.items():
            sums[name] = sums.get(name, 0) + grad
    assert_close(batch, (total, sums))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_two_paths_agree_under_bfloat16_autocast(folders, device, scheme):
    model = made(folders["qwen2"], device, positions=scheme)
    asked = suffixes(model, *TURNS)
    mixed = torch.autocast(device.type, torch.bfloat16)  # around the forward pass alone, as in training
    one = gradients(model, heard_on(device), mixed(lambda heard: model(heard, RATIOS, asked).loss_sum))
    stream = gradients(model, heard_on(device), mixed(lambda heard: streamed(model, heard, RATIOS, asked)))
    assert one[0] == pytest.approx(stream[0], rel=2e-2)
    assert all(grad.isfinite().all() for run in (one, stream) for grad in run[1].values())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_answers_are_those_of_a_cpu(folders, device, family, scheme):
    texts = []
    for where in (device, torch.device("cpu")):
        model = made(folders[family], where, positions=scheme)
        memory = model.prefill(heard_on(where), RATIOS)
        answers = model.generate(memory, [2, 0, 3, 0, 1], ["why?", WHAT, "x", "how many?", WHO], [12, 7, 9, 12, 4])
        texts.append([answer.text for answer in answers])
    assert texts[0] == texts[1] and len(set(texts[0])) > 1


@torch.no_grad()
def test_an_encoders_frames_are_those_of_a_cpu(tmp_path, device):
    encoder = HFEncoder(encoder_folder(tmp_path), overlap_seconds=0.1)
    encoder.build([-1, 1])
    encoder.eval()
    sounds = [audio(2.3), audio(0.4, seed=1)]
    there = encoder.encode(sounds)
    for mine, wanted in zip(encoder.to(device).encode(sounds), there, strict=True):
        assert mine.device.type == device.type
        torch.testing.assert_close(mine.cpu(), wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_listeners_memory_is_that_of_a_cpu(tmp_path, device, scheme):
    parts = {"encoder": encoder_folder(tmp_path / "encoder"), "llm": llm_folder(tmp_path / "llm", "llama3")}
    heard, texts = [], []
    for where in (device, torch.device("cpu")):
        one = Listener(backbone(parts, scheme).to(where), ratio=4, interval_seconds=INTERVAL)
        compress_interval(one, audio(SECONDS), 5_000)
        texts.append(one.ask(WHO, limit=9).text)
        one.flush()
        heard.append(one)
    assert heard[0].memory.valid.device.type == device.type
    assert heard[0].kept == heard[1].kept > 0
    same(heard[0].memory.to("cpu"), heard[1].memory)
    assert texts[0] == texts[1]
