"""Speech of tones, and a small model that reads it: each letter is a tone of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs the extra video")
RATE = 16_000
ALPHABET = "|abcdefghijklmnopqrstuvwxyz"  # "|": between two words
LETTER, GAP = 0.12, 0.06  # seconds of a letter's tone, and of the silence after it
_TONES = 700 * (10 ** (np.linspace(400, 2900, len(ALPHABET)) / 2595) - 1)  # Hz, even in mel


def speak(text: str, *, at: float = 0.0, seconds: float = 0.0) -> np.ndarray:
    """float32 [n] of a text of letters that begins at a second; silence up to `seconds`."""
    time = np.arange(int(LETTER * RATE)) / RATE
    fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.01)
    silence = np.zeros(int(GAP * RATE), np.float32)
    parts = [np.zeros(int(at * RATE), np.float32)]
    for letter in text.lower().replace(" ", "|"):
        tone = 0.4 * np.sin(2 * np.pi * _TONES[ALPHABET.index(letter)] * time) * fade
        parts += [tone.astype(np.float32), silence]
    sound = np.concatenate(parts)
    return np.pad(sound, (0, max(0, int(seconds * RATE) - len(sound))))


def write(path: Path, sound: np.ndarray, *, codec: str = "", rate: int = RATE, **tags: str) -> Path:
    """A recording in the format of its suffix."""
    with av.open(str(path), "w") as container:
        container.metadata.update(tags)
        stream = container.add_stream(codec or "pcm_s16le", rate=rate, layout="mono")
        stream.bit_rate = 96_000
        encode(container, stream, sound)
    return path


def encode(container: Any, stream: Any, sound: np.ndarray) -> None:
    """Write the sound as a stream of an open container."""
    samples = np.clip(sound * 32767, -32768, 32767).astype(np.int16).reshape(1, -1)
    resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=stream.rate)
    for start in range(0, samples.shape[1], RATE):
        piece = np.ascontiguousarray(samples[:, start : start + RATE])
        frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, start
        for one in resampler.resample(frame):
            container.mux(stream.encode(one))
    for one in resampler.resample(None):
        container.mux(stream.encode(one))
    container.mux(stream.encode(None))


def save_recognizer(folder: Path) -> Path:
    """A Wav2Vec2-BERT with one small layer, trained here to read tones, in the hub's layout."""
    import torch
    from transformers import (
        SeamlessM4TFeatureExtractor,
        Wav2Vec2BertConfig,
        Wav2Vec2BertForCTC,
        Wav2Vec2CTCTokenizer,
    )

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {"<pad>": 0, "<unk>": 1, **{letter: n + 2 for n, letter in enumerate(ALPHABET)}}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"), pad_token="<pad>", unk_token="<unk>", word_delimiter_token="|",
        bos_token=None, eos_token=None,
    )  # fmt: skip
    extractor = SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, padding_value=0.0)
    torch.manual_seed(0)
    model = Wav2Vec2BertForCTC(
        Wav2Vec2BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            feature_projection_input_dim=160,
            output_hidden_size=64,
            conv_depthwise_kernel_size=3,
            position_embeddings_type=None,
            layerdrop=0.0,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            activation_dropout=0.0,
            final_dropout=0.0,
            feat_proj_dropout=0.0,
            conformer_conv_dropout=0.0,
            apply_spec_augment=False,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    rng = np.random.default_rng(0)
    sounds, labels = [], []
    for _ in range(96):
        letters = rng.integers(0, len(ALPHABET), 14)
        at, loudness = rng.uniform(0, 0.4), rng.uniform(0.3, 1.5)
        text = "".join(ALPHABET[n] for n in letters)
        sound = speak(text, at=at, seconds=3.2)[: int(3.2 * RATE)] * loudness
        sounds.append(sound + rng.normal(0, 1e-4, len(sound)).astype(np.float32))
        # The frames (of 20 ms) at both ends of a tone may be read as either.
        frames = np.zeros(160, np.int64)
        for n, letter in enumerate(letters):
            begin = (at + n * (LETTER + GAP)) / 0.02
            end = begin + LETTER / 0.02
            frames[int(begin) - 1 : int(end) + 2] = -100
            frames[round(begin) + 1 : round(end) - 1] = letter + 2
        labels.append(frames)
    features = extractor(sounds, sampling_rate=RATE, return_tensors="pt", padding=True)
    given, wanted = features["input_features"], torch.tensor(np.stack(labels))
    wanted = wanted[:, : given.shape[1]]
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for step in range(150):
        batch = slice(step % 6 * 16, step % 6 * 16 + 16)
        logits = model(input_features=given[batch]).logits[:, : wanted.shape[1]]
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, len(vocabulary)), wanted[batch].reshape(-1)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    extractor.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
