"""Small models with random weights, saved in the layout that the hub has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

# fmt: off
WORDS = [
    "the", "a", "of", "dog", "cat", "tax", "law", "river", "sea", "ship", "red", "green",
    "query", "passage", ":", "what", "is", "?", ".",
]
# fmt: on


def save_tokenizer(folder: Path) -> None:
    """A lower-case WordPiece tokenizer over a handful of words and all ASCII letters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(97, 123)]
    vocabulary = [*special, *WORDS, *letters[1:], *(f"##{letter}" for letter in letters)]
    ids = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    ).save_pretrained(folder)


def bert_config(**more: int) -> object:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=128,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        **more,
    )


def save_text_encoder(folder: Path, *, prompts: dict[str, str] | None = None) -> Path:
    """A sentence-transformers model with mean pooling and 32 dimensions."""
    import torch
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertModel

    torch.manual_seed(1)
    bare = folder / "bare"
    BertModel(bert_config()).save_pretrained(bare)
    save_tokenizer(bare)
    transformer = models.Transformer(str(bare), max_seq_length=32)
    pooling = models.Pooling(32, pooling_mode="mean")
    model = SentenceTransformer(modules=[transformer, pooling], prompts=prompts, device="cpu")
    model.save(str(folder / "encoder"), create_model_card=False)
    return folder / "encoder"


def save_cross_encoder(folder: Path, *, outputs: int = 1) -> Path:
    import torch
    from transformers import BertForSequenceClassification

    torch.manual_seed(2)
    model = BertForSequenceClassification(bert_config(num_labels=outputs))
    torch.nn.init.normal_(model.classifier.weight, std=1.0)
    model.save_pretrained(folder / "reranker")
    save_tokenizer(folder / "reranker")
    return folder / "reranker"


def save_clip(folder: Path) -> Path:
    """An open_clip model with 32 dimensions, as open_clip pushes them to the hub."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(3)
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2,
                     "layers": 2},
    }  # fmt: skip
    model = open_clip.CLIP(**config)
    target = folder / "clip"
    target.mkdir(parents=True)
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()},
        target / "open_clip_model.safetensors",
    )
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    (target / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    return target


def save_llm(folder: Path) -> Path:
    """A Llama with 2 layers, its tokenizer and a chat template."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(4)
    config = LlamaConfig(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "llm")
    save_tokenizer(folder / "llm")
    tokenizer = AutoTokenizer.from_pretrained(folder / "llm")
    tokenizer.eos_token = "[SEP]"
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ' : ' + m['content'] + ' ' }}{% endfor %}"
    )
    tokenizer.save_pretrained(folder / "llm")
    return folder / "llm"


def save_small_bert(folder: Path, words: Sequence[str]) -> Path:
    """A BERT of four layers of 32 units, with a tokenizer of these whole words."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel

    folder.mkdir(exist_ok=True)
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", ":")
    vocabulary = {word: n for n, word in enumerate(dict.fromkeys((*special, *words)))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=128,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def save_span_reader(folder: Path, base: Path) -> Path:
    """An extractive reader over `base` whose outputs are random."""
    import torch

    from ragcore.encoders.extractive_reader import save_extractive
    from ragcore.tuning.extractive.network import SpanNetwork

    torch.manual_seed(0)
    network = SpanNetwork(base, frozen_layers=2)
    save_extractive(folder, base, network.tensors(), network.config(), window=64)
    return folder
