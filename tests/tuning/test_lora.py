from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from ragcore.answers.prompt import assemble
from ragcore.errors import UsageError
from ragcore.llm.batch import generate_branches
from ragcore.settings import Settings
from ragcore.tuning.lora.packing import (
    end_of_turn,
    make_packs,
    read_examples,
    register_attention,
    split_prompt,
    to_batch,
    to_tensors,
)
from ragcore.tuning.lora.recipe import LoraRecipe
from ragcore.tuning.lora.train import LoraReport, tune_lora
from ragcore.tuning.recipe import read_recipe
from ragcore.types import CancelToken, Progress
from ragcore.weights import WeightStore

PASSAGES = [
    {"text": "The library opens at nine. It closes at six.", "title": "House rules", "page": 2},
    {"text": "Dogs are welcome in the garden.", "title": "", "page": None},
]
ROWS = [
    {"question": "When does the library open?", "passages": PASSAGES, "answer": "At nine [1]."},
    {"question": "Where may dogs go?", "passages": PASSAGES, "answer": "The garden [2]."},
    {"question": "Who is the caretaker?", "passages": PASSAGES, "answer": "I don't know."},
    {"question": "And alone?", "passages": PASSAGES[:1], "answer": "At six [1]."},
]


@pytest.fixture(scope="session")
def tiny(starter_weights: WeightStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-lora")
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=49152, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
            bos_token_id=1, eos_token_id=2, pad_token_id=2, initializer_range=0.2,
        )
    ).save_pretrained(folder)  # fmt: skip
    source = starter_weights.ensure("smollm2-135m-instruct")
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tiny: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def plain_ids(tokenizer, example) -> tuple[list[int], list[int]]:
    messages = assemble(example.question, example.sources)
    text = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages],
        tokenize=False,
        add_generation_prompt=True,
    )
    return tokenizer(text).input_ids, tokenizer(example.answer + tokenizer.eos_token).input_ids


def test_a_packed_question_gets_the_logits_of_a_prompt_of_its_own(tiny, tokenizer, rows) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    examples = read_examples(rows)
    packs = make_packs(tokenizer, examples, max_tokens=1000)
    assert [len(pack.questions) for pack in packs] == [3, 1]
    model = AutoModelForCausalLM.from_pretrained(tiny)
    plain = []
    with torch.inference_mode():
        for example in examples:
            prompt, answer = plain_ids(tokenizer, example)
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0]
            plain.append(logits[len(prompt) - 1 : len(prompt) + len(answer) - 1])
        model.set_attn_implementation(register_attention())
        packed = [model(**to_tensors([pack]).inputs()).logits[0] for pack in packs]
        together = model(**to_tensors(packs).inputs()).logits[0]
        model.set_attn_implementation("sdpa")
        batch = to_batch(packs, "cpu", torch.float32)
        states = model.get_decoder()(**batch.inputs()).last_hidden_state
        padded = model.get_output_embeddings()(states.flatten(0, 1)[batch.keep])
    expected = torch.cat(plain)
    assert torch.allclose(torch.cat(packed), expected, atol=2e-4)
    assert torch.allclose(together, expected, atol=2e-4)
    assert torch.allclose(padded, expected, atol=2e-4)
    assert batch.targets.tolist() == to_tensors(packs).targets.tolist()
    assert expected.std() > 0.1
    answers = [plain_ids(tokenizer, example)[1] for example in examples]
    learnt = to_tensors(packs).targets.tolist()
    assert learnt == [token for answer in answers for token in answer]


def test_an_answer_ends_as_the_template_ends_a_turn(tokenizer) -> None:
    assert end_of_turn(tokenizer) == "<|im_end|>"
    other = copy.deepcopy(tokenizer)
    other.eos_token = "<|im_start|>"
    assert end_of_turn(other) == "<|im_end|>"


def test_prefix_and_branch_are_the_prompts_own_tokens(tokenizer, rows) -> None:
    for example in read_examples(rows):
        head, tail = split_prompt(tokenizer, assemble(example.question, example.sources))
        whole, _ = plain_ids(tokenizer, example)
        assert tokenizer(head).input_ids + tokenizer(tail).input_ids == whole


def test_branches_are_generated_as_from_prompts_of_their_own(tiny, tokenizer, rows) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    examples = read_examples(rows)[:3]
    parts = [split_prompt(tokenizer, assemble(e.question, e.sources)) for e in examples]
    found = generate_branches(
        model,
        tokenizer(parts[0][0]).input_ids,
        [tokenizer(tail).input_ids for _, tail in parts],
        max_tokens=12,
        eos=tokenizer.eos_token_id,
    )
    for example, result in zip(examples, found, strict=True):
        prompt, _ = plain_ids(tokenizer, example)
        with torch.inference_mode():
            output = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)
        expected = output[0, len(prompt) :].tolist()
        if tokenizer.eos_token_id in expected:
            expected = expected[: expected.index(tokenizer.eos_token_id)]
        assert list(result.tokens) == expected


def test_long_groups_are_cut_into_packs_and_too_long_prompts_left_out(tokenizer, rows) -> None:
    examples = read_examples(rows)
    whole = make_packs(tokenizer, examples, max_tokens=1000)
    limit = whole[0].tokens - 1
    cut = make_packs(tokenizer, examples, max_tokens=limit)
    assert [len(pack.questions) for pack in cut] == [2, 1, 1]
    assert max(pack.tokens for pack in cut) <= limit
    assert make_packs(tokenizer, examples, max_tokens=64) == []
    alone = make_packs(tokenizer, examples, max_tokens=1000, shared=False)
    assert [len(pack.questions) for pack in alone] == [1, 1, 1, 1]


def recipe_file(tmp_path: Path, tiny: Path, rows: Path, **more: object) -> Path:
    values = {
        "name": "test", "base": str(tiny), "train": str(rows), "dev": str(rows), "output": "run",
        "steps": 30, "rank": 8, "learning_rate": 0.02, "warmup_steps": 2, "seed": 1, **more,
    }  # fmt: skip
    path = tmp_path / "recipe.toml"
    path.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items()))
    return path


def test_training_learns_the_answers_and_leaves_the_base_alone(
    tmp_path: Path, tiny: Path, rows: Path, settings: Settings
) -> None:
    from safetensors.torch import load_file

    seen: list[Progress] = []
    report = tune_lora(recipe_file(tmp_path, tiny, rows), settings=settings, progress=seen.append)
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in log if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    assert report.base_unchanged
    assert report.steps == 30
    assert report.examples == 15 * 3 + 15
    assert seen[-1].done == 30
    assert set(report.dev) >= {"f1", "em", "declined_unanswerable"}
    state = load_file(report.adapter / "adapter_model.safetensors")
    assert {str(v.dtype) for v in state.values()} == {"torch.float16"}
    assert any(v.abs().max() > 0 for k, v in state.items() if "lora_B" in k)
    assert (tmp_path / "run/curves.png").stat().st_size > 5000


def test_cancelled_run_is_taken_up_where_it_was(
    tmp_path: Path, tiny: Path, rows: Path, settings: Settings
) -> None:
    whole = tune_lora(
        recipe_file(tmp_path, tiny, rows, output="whole", steps=12), settings=settings
    )
    recipe = recipe_file(tmp_path, tiny, rows, output="parts", steps=12)
    cancel = CancelToken()

    def stop_at_five(progress: Progress) -> None:
        if progress.done == 5:
            cancel.cancel()

    first = tune_lora(recipe, settings=settings, progress=stop_at_five, cancel=cancel)
    assert first.cancelled
    assert first.steps == 5
    second = tune_lora(recipe, settings=settings)
    assert second.steps == 12
    assert not second.cancelled

    def losses(run: str) -> list[float]:
        lines = (tmp_path / run / "log.jsonl").read_text().splitlines()
        return [row["loss"] for row in map(json.loads, lines) if "loss" in row]

    assert losses("parts") == pytest.approx(losses("whole"), abs=2e-3)
    assert isinstance(whole, LoraReport)


def test_the_upper_layers_alone_are_adapted_in_bfloat16(
    tmp_path: Path, tiny: Path, rows: Path, settings: Settings
) -> None:
    from safetensors.torch import load_file

    how = {"first_layer": 2, "precision": "bfloat16", "steps": 4}
    report = tune_lora(recipe_file(tmp_path, tiny, rows, **how), settings=settings)
    state = load_file(report.adapter / "adapter_model.safetensors")
    assert {name.split("layers.")[1].split(".")[0] for name in state} == {"2"}
    assert any(v.abs().max() > 0 for k, v in state.items() if "lora_B" in k)
    assert report.base_unchanged
    with pytest.raises(UsageError, match=r"first_layer = 3: .* has 3 layers"):
        tune_lora(recipe_file(tmp_path, tiny, rows, first_layer=3), settings=settings)


def test_a_run_may_begin_with_the_weights_of_another(
    tmp_path: Path, tiny: Path, rows: Path, settings: Settings
) -> None:
    first = tune_lora(recipe_file(tmp_path, tiny, rows, output="one"), settings=settings)
    start = str(first.adapter)
    second = tune_lora(
        recipe_file(tmp_path, tiny, rows, steps=2, output="two", start=start), settings=settings
    )

    def losses(run: str) -> list[float]:
        lines = (tmp_path / run / "log.jsonl").read_text().splitlines()
        return [row["loss"] for row in map(json.loads, lines) if "loss" in row]

    assert losses("two")[0] < 0.7 * losses("one")[0]
    assert second.steps == 2
    for bad, word in (({"rank": 4}, "rank"), ({"start": str(tmp_path)}, "holds no")):
        values = {"output": "three", "start": start, **bad}
        recipe = recipe_file(tmp_path, tiny, rows, **values)
        with pytest.raises(UsageError, match=word):
            tune_lora(recipe, settings=settings)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name = 'a'", "base"),
        ("nme = 'a'", "nme|name"),
        ("name = 'a/b'\nbase='x'\ntrain='t'\noutput='o'", "name"),
        ("name = 'a'\nbase='x'\ntrain='t'\noutput='o'\nrank = 0", "rank"),
        ("name = ", "not TOML"),
    ],
)
def test_bad_recipes_name_what_is_wrong(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=word):
        read_recipe(path, LoraRecipe)


def test_bad_training_files_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps({"question": "x"}) + "\n")
    with pytest.raises(UsageError, match="line 2"):
        read_examples(path)
    path.write_text("")
    with pytest.raises(UsageError, match="no examples"):
        read_examples(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_examples(tmp_path / "missing.jsonl")
