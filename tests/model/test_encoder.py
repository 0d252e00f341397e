"""The encoder: one frame a started hop, windows stitched without a seam, and frames that don't depend on the batch."""

import pytest
import torch
import transformers
from packaging.version import Version
from safetensors import safe_open

from experiments.random_models import HOP, TOWERS, audio, encoder_folder
from speech_xl.model import HFEncoder

# Samples a frame, samples a window of 0.5 s (whole frames), and width.
SHAPES = {
    "whisper": (320, 8000, 16),
    "whisper128": (320, 8000, 16),
    "wav2vec2": (320, 8000, 16),
    "hubert": (320, 8000, 16),
    "wavlm": (320, 8000, 16),
    "parakeet": (1280, 7680, 16),
    "qwen2_audio": (640, 8320, 16),
    "qwen2_5_omni": (640, 7680, 24),
}
NEWER = {"parakeet", "qwen2_5_omni"}  # whose classes ask for more in older releases of transformers
KINDS = [kind for kind in SHAPES if kind not in NEWER or Version(transformers.__version__) >= Version("5.4")]
TAPPED = [kind for kind in KINDS if not kind.startswith("qwen")]  # whose inner layers have the last one's frame rate
WINDOW = 8000


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    return {kind: encoder_folder(root / kind, kind) for kind in KINDS}


def make(folder, layers=(-1,), **options):
    encoder = HFEncoder(folder, **options)
    encoder.build(layers)
    return encoder.eval()


@pytest.fixture(scope="module")
def encoders(folders):
    return {kind: half_a_second(folders, kind) for kind in KINDS}


def half_a_second(folders, kind, **options):
    return make(folders[kind], window_seconds=None if kind == "qwen2_audio" else 0.5, **options)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_one_frame_a_started_hop_whatever_the_length(encoders, kind):
    encoder, (hop, window, width) = encoders[kind], SHAPES[kind]
    assert (encoder.hop, encoder.window, encoder.frame_rate, encoder.width) == (hop, window, 16_000 / hop, width)
    edges = [1, 2, hop - 1, hop, hop + 1, 399, 401, 3 * hop, window - 1, window, window + 1]
    edges += [window + hop, 2 * window, 2 * window + 7, 3 * window - hop + 1]
    for samples in edges:
        (frames,) = encoder.encode([audio(samples=samples)])
        assert frames.shape == (1, -(-samples // hop), width), samples
        assert frames.shape[1] == encoder.frames_of(samples)
        assert frames.isfinite().all(), samples


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_stitched_windows_equal_windows_encoded_alone(encoders, kind):
    encoder, (_, window, _) = encoders[kind], SHAPES[kind]
    whole = audio(samples=2 * window + 1234)
    (stitched,) = encoder.encode([whole])
    parts = [encoder.encode([whole[start : start + window]])[0] for start in range(0, len(whole), window)]
    assert len(parts) == 3
    torch.testing.assert_close(stitched, torch.cat(parts, dim=1), atol=2e-5, rtol=1e-4)
    # A frame at the wrong place would not have passed: neighbours differ.
    assert (stitched[:, 1:] - stitched[:, :-1]).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_overlapping_windows_keep_every_frame_once_and_hear_beyond_their_borders(folders, kind):
    hop, window, _ = SHAPES[kind]
    overlap, encoder = 1600 // hop * hop, half_a_second(folders, kind, overlap_seconds=0.1)
    for samples in (1, hop, window, window + 1, window + overlap + 7, 2 * window, 3 * window - 11):
        whole = audio(samples=samples)
        (stitched,) = encoder.encode([whole])
        windows = encoder.windows(samples)
        assert stitched.shape[1] == encoder.frames_of(samples)
        assert [first for _, _, first, _ in windows] == [0, *(last for *_, last in windows[:-1])]
        assert windows[-1][3] == samples
        for start, stop, first, last in windows:
            assert stop - start <= window
            assert first == start == 0 or first - start == overlap
            assert last == stop == samples or stop - last == overlap
            (alone,) = half_a_second(folders, kind).encode([whole[start:stop]])
            theirs = alone[:, (first - start) // hop :][:, : encoder.frames_of(last - first)]
            mine = stitched[:, first // hop :][:, : theirs.shape[1]]
            torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("seconds", [-0.1, 0.26, 1.0])
def test_an_overlap_of_half_a_window_is_refused(folders, seconds):
    with pytest.raises(
        ValueError,
        match=f"overlap_seconds(={seconds} must be at least 0 and less than half|: got -0.1; give a number from 0)",
    ):
        make(folders["whisper"], window_seconds=0.5, overlap_seconds=seconds)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_ragged_batch_equals_its_rows_alone(encoders, kind):
    encoder = encoders[kind]
    rows = [audio(samples=n, seed=n) for n in (WINDOW, 700, 2 * WINDOW + 50, 5000, 700)]
    together = encoder.encode(rows)
    for row, frames in zip(rows, together, strict=True):
        torch.testing.assert_close(frames, encoder.encode([row])[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", TAPPED)
@torch.no_grad()
def test_taps_are_the_models_own_hidden_states(folders, encoders, kind):
    tapped = make(folders[kind], layers=(1, -1, 0, 2), window_seconds=0.5)
    sound = audio(samples=WINDOW + 900)
    frames = tapped.encode([sound])[0]
    (last,) = encoders[kind].encode([sound])
    assert frames.shape[0] == 4
    torch.testing.assert_close(frames[1], last[0], atol=2e-5, rtol=1e-4)
    assert frames[1].equal(frames[3]), "-1 is the last of two layers"
    assert not frames[0].allclose(frames[1]) and not frames[0].allclose(frames[2])


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(TAPPED)))
def test_inner_layers_at_another_rate_are_refused(folders, kind):
    with pytest.raises(ValueError, match=r"layers \[1, -1\] asked for, but its inner layers have more frames"):
        make(folders[kind], layers=(1, -1))


@pytest.mark.parametrize("kind", sorted(set(KINDS) & set(TOWERS)))
def test_of_a_larger_model_the_towers_own_weights_are_read(folders, kind):
    loaded = make(folders[kind]).model.state_dict()
    with safe_open(f"{folders[kind]}/model.safetensors", "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, value in loaded.items():
        assert value.equal(stored[TOWERS[kind][2] + name]), name
    fresh = make(folders[kind], pretrained=False).model.state_dict()
    assert fresh.keys() == loaded.keys()
    assert any(not value.equal(loaded[name]) for name, value in fresh.items())


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_do_not_exist_are_refused(folders, kind):
    for layer in (3, -4):
        with pytest.raises(ValueError, match=f"layer {layer} asked for, but it has 2 layers"):
            make(folders[kind], layers=(layer,))


@torch.no_grad()
def test_raw_encoders_take_half_a_minute_unless_told(folders):
    encoder = make(folders["wav2vec2"])
    assert encoder.window == 30 * 16_000
    sound = audio(samples=WINDOW + 900)
    short = make(folders["wav2vec2"], window_seconds=0.5)
    assert encoder.encode([sound])[0].shape == short.encode([sound])[0].shape
    assert not encoder.encode([sound])[0].allclose(short.encode([sound])[0])


def test_a_window_is_cut_to_whole_hops(folders):
    assert make(folders["hubert"], window_seconds=0.51).window == 8160 // HOP * HOP == WINDOW


@pytest.mark.parametrize("kind", ["whisper", "wavlm"])
def test_fingerprint_names_weights_window_and_layers(tmp_path, folders, kind):
    first = make(folders[kind], window_seconds=0.5)
    prints = [first.fingerprint()]
    assert prints[0] == make(folders[kind], window_seconds=0.5).fingerprint()
    assert prints[0].startswith(kind)
    prints.append(make(encoder_folder(tmp_path / kind, kind, seed=1), window_seconds=0.5).fingerprint())
    prints.append(make(folders[kind], layers=(0, -1), window_seconds=0.5).fingerprint())
    if kind == "whisper":
        longer = encoder_folder(tmp_path / "longer" / kind, kind, max_source_positions=30)
        prints.append(make(longer).fingerprint())
    else:
        prints.append(make(folders[kind], window_seconds=1.0).fingerprint())
    prints.append(make(folders[kind], window_seconds=0.5, overlap_seconds=0.1).fingerprint())
    with torch.no_grad():
        next(first.model.parameters())[0] += 1e-3
    prints.append(first.fingerprint())
    assert len(set(prints)) == len(prints)


def test_unpretrained_starts_from_the_config(folders):
    torch.manual_seed(5)
    fresh, loaded = make(folders["whisper"], pretrained=False), make(folders["whisper"])
    theirs = loaded.model.state_dict()
    assert fresh.model.state_dict().keys() == theirs.keys()
    assert not fresh.model.layers[0].fc1.weight.equal(theirs["layers.0.fc1.weight"])
    assert fresh.encode([audio(0.2)])[0].shape == (1, 10, 16)


def test_gradients_reach_a_training_encoder(encoders):
    for encoder in encoders.values():
        encoder.zero_grad()
        encoder.encode([audio(samples=WINDOW + 900)])[0].square().sum().backward()
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in encoder.parameters())


def test_empty_audio_is_refused_by_row(encoders):
    with pytest.raises(ValueError, match="row 1 of the batch holds no audio"):
        encoders["whisper"].encode([audio(0.1), torch.zeros(0)])


def test_another_window_for_whisper_is_refused(folders):
    with pytest.raises(
        ValueError, match="window_seconds=1.0 but its window is fixed at 0.5 s; leave window_seconds out"
    ):
        make(folders["whisper"], window_seconds=1.0)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_window_must_be_positive(folders, seconds):
    with pytest.raises(ValueError, match=rf"window_seconds: got {seconds}; give a number above 0"):
        make(folders["wavlm"], window_seconds=seconds)


def test_another_sample_rate_is_refused(tmp_path):
    folder = encoder_folder(tmp_path / "narrow", "hubert")
    text = (tmp_path / "narrow" / "preprocessor_config.json").read_text()
    assert "16000" in text
    (tmp_path / "narrow" / "preprocessor_config.json").write_text(text.replace("16000", "8000"))
    with pytest.raises(ValueError, match="listens at 8000 Hz, not 16000 Hz"):
        make(folder)


def test_a_missing_folder_is_named_with_the_mend(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"encoder\.name=.*nowhere: no config\.json in .* hub name such as"):
        make(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_long_session_is_encoded_a_few_windows_at_a_time(encoders, monkeypatch, kind):
    encoder, rows = encoders[kind], [audio(samples=5 * WINDOW + 900), audio(samples=2 * WINDOW)]
    wanted = encoder.encode(rows)
    sizes, whole = [], encoder._encode_batch
    monkeypatch.setattr("speech_xl.model.encoder.WINDOWS_AT_ONCE", 2)
    monkeypatch.setattr(encoder, "_encode_batch", lambda windows: sizes.append(len(windows)) or whole(windows))
    for frames, all_at_once in zip(encoder.encode(rows), wanted, strict=True):
        torch.testing.assert_close(frames, all_at_once, atol=1e-4, rtol=1e-3)
    assert len(sizes) > 3 and max(sizes) == 2
