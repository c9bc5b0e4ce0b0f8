"""One small model of each part, saved as files with a profile that names them: real
architectures, random weights. What they find and say means little, except that texts which share
words are near each other.
"""

from __future__ import annotations

from pathlib import Path

from ragcore.weights import WeightStore

from .diffusion.tiny import make_model
from .encoders.small_models import save_clip
from .image_models import save_projector, save_small_llm

DIMENSION = 384  # as many as the starter profile's encoder has
# Words that most texts share say nothing about what a text is about.
COMMON_WORDS = """
    a about after all also an and any are as at be been before but by can could do does for
    from had has have he her his how i if in into is it its may more must no not of on one
    only or other our out shall she should so some than that the their them then there they
    this to two up was we were what when where which while who why will with would you your
"""


def save_word_encoder(folder: Path, store: WeightStore) -> Path:
    """A sentence-transformers model of one table: the mean of a random vector for each token."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(store.ensure("minilm-l6-v2") / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    generator = torch.Generator().manual_seed(11)
    weights = torch.randn(tokenizer.get_vocab_size(), DIMENSION, generator=generator)
    common = set(COMMON_WORDS.split())
    for token, number in tokenizer.get_vocab().items():
        if token in common or not token.removeprefix("##").isalnum():
            weights[number] *= 0.05
    model = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=weights.numpy())], device="cpu"
    )
    model.save(str(folder), create_model_card=False)
    return folder


def save_tiny_models(folder: Path, store: WeightStore) -> Path:
    """Write the models and `tiny.toml`; return the profile's path.

    `store` has the tokenizers of the starter profile, which these models take words apart with.
    """
    save_word_encoder(folder / "text", store)
    clip = save_clip(folder)
    llm = save_small_llm(folder / "llm", store)
    save_projector(folder / "projector", llm)
    make_model(folder / "diffusion", controls=("canny", "scribble", "segmentation"))
    profile = folder / "tiny.toml"
    profile.write_text(
        f"""
name = "tiny"
description = "Small models of random weights, for tests."
[text_encoder]
weights = "local:{folder / "text"}"
kind = "sentence-transformers"
[image_text_encoder]
weights = "local:{clip}"
kind = "open_clip"
[llm]
weights = "local:{llm}"
kind = "transformers"
[vision_llm]
weights = "local:{folder / "projector"}"
kind = "projector"
[diffusion]
weights = "local:{folder / "diffusion"}"
kind = "latent"
""",
        "utf-8",
    )
    return profile
