"""Adapters with the real frameworks, installed into an environment of their own."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from ragcore.errors import MissingExtra
from ragcore.extras import missing_modules
from ragcore.library import Library
from ragcore.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "integrations.md"
PACKAGES = ("langchain-core>=1", "llama-index-core>=0.14", "haystack-ai>=3", "mteb>=2.20")
QUESTION = "table games during working hours"

CHECK = f"""
import json, sys
from ragcore import Library
from ragcore.errors import UsageError
from ragcore.types import SearchQuery

library = Library()
sample = library.collection("sample")
query = SearchQuery(text={QUESTION!r}, kind="passages", k=10, cutoff=0)
hits = sample.search(query).hits
wanted = [f"{{hit.document_id}}:{{hit.id}}" for hit in hits]
assert len(wanted) == 10, wanted

from ragcore.integrations.langchain import RagcoreEmbeddings, RagcoreRetriever, RagcoreVectorStore
found = RagcoreRetriever(collection=sample, k=10, cutoff=0).invoke({QUESTION!r})
assert [one.id for one in found] == wanted
assert found[0].page_content == hits[0].text
assert abs(found[0].metadata["score"] - hits[0].score) < 1e-3
near = sample.search({QUESTION!r}, kind="passages", k=10, where={{"type": "pdf"}}).hits
found = RagcoreRetriever(collection=sample, where={{"type": "pdf"}}).invoke({QUESTION!r})
assert [one.metadata["start"] for one in found] == [hit.span[0] for hit in near]
vectors = RagcoreEmbeddings(library)
assert len(vectors.embed_query("a")) == library.models.text_space.dimension
assert len(vectors.embed_documents(["a", "b"])) == 2
store = RagcoreVectorStore.from_texts(["The ferry leaves at nine.", "Bread needs salt."],
    vectors, [{{"title": "ferry"}}, {{"title": ""}}], collection=library.collection("notes"))
[best] = store.similarity_search("When does the ferry leave?", k=1)
assert best.page_content == "The ferry leaves at nine."
assert store.as_retriever(search_kwargs={{"k": 1}}).invoke("salt in bread")[0].page_content == (
    "Bread needs salt.")
ids = [best.id.partition(":")[0]]
assert store.get_by_ids(ids)[0].page_content == "The ferry leaves at nine."
for bad in (lambda: store.delete(), lambda: store.delete([best.id]),
            lambda: store.add_texts(["x"], ids=["1"]), lambda: store.add_texts([" "])):
    try:
        bad()
    except UsageError:
        continue
    raise AssertionError("it should have been refused")
assert store.delete(ids)
assert "ferry" not in str(store.similarity_search("ferry", k=5))

from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from ragcore.integrations.llamaindex import RagcoreReranker
from ragcore.integrations.llamaindex import RagcoreRetriever as LlamaRetriever
nodes = LlamaRetriever(sample, k=10, cutoff=0).retrieve({QUESTION!r})
assert [one.node.node_id for one in nodes] == wanted
assert all(abs(one.score - hit.score) < 1e-3 for one, hit in zip(nodes, hits))
turned = RagcoreReranker(library, top_n=3).postprocess_nodes(nodes[::-1], query_str={QUESTION!r})
scores = library.models.rerank({QUESTION!r}, [one.node.text for one in nodes])
best = sorted(range(len(nodes)), key=lambda place: -scores[place])[:3]
assert [one.node.node_id for one in turned] == [wanted[place] for place in best]

from ragcore.integrations.haystack import RagcoreDocumentStore
from ragcore.integrations.haystack import RagcoreRetriever as HaystackRetriever
retriever = HaystackRetriever(RagcoreDocumentStore("sample"), top_k=10, cutoff=0)
retriever = HaystackRetriever.from_dict(json.loads(json.dumps(retriever.to_dict())))
assert [one.id for one in retriever.run({QUESTION!r})["documents"]] == wanted
haystack = RagcoreDocumentStore("sample")
pdfs = haystack.filter_documents({{"field": "meta.type", "operator": "==", "value": "pdf"}})
assert 0 < len(pdfs) < haystack.count_documents() == len(haystack.filter_documents())
try:
    haystack.filter_documents({{"field": "meta.type", "operator": "!=", "value": "pdf"}})
except UsageError as error:
    assert "'!='" in str(error)
else:
    raise AssertionError("it should have been refused")

import numpy as np
from mteb.types import PromptType
from ragcore.integrations.mteb import RagcoreEncoder
encoder = RagcoreEncoder(library)
how = dict(task_metadata=None, hf_split="test", hf_subset="default")
batches = [{{"text": ["a", "b"]}}, {{"text": ["c"]}}]
made = encoder.encode(batches, prompt_type=PromptType.query, **how)
np.testing.assert_array_equal(made, library.models.embed(["a", "b", "c"], kind="query"))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that sees this environment's packages, and the frameworks'."""
    folder = tmp_path_factory.mktemp("frameworks")
    venv.create(folder, with_pip=True)
    interpreter = folder / "bin" / "python"
    found = subprocess.run(
        [interpreter, "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    paths = [str(ROOT), *(path for path in sys.path if path and Path(path).is_dir())]
    (Path(found.stdout.strip()) / "here.pth").write_text("\n".join(paths) + "\n")
    done = subprocess.run(
        [interpreter, "-m", "pip", "install", "--quiet", *PACKAGES], capture_output=True, text=True
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        if "conflict" in reason.lower():
            pytest.fail(reason)
        pytest.skip(f"the package index cannot be reached: {reason}")
    return interpreter


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Path) -> Path:
    """A library with the sample documents, and a profile with a reranker."""
    folder = tmp_path_factory.mktemp("adapters")
    profile = tiny_profile.with_name("with-reranker.toml")
    reranker = '\n[reranker]\nweights = "ms-marco-minilm-l12"\nkind = "onnx"\n'
    profile.write_text(tiny_profile.read_text() + reranker)
    home = folder / "home"
    home.mkdir()
    (home / "settings.toml").write_text(f'profile = "{profile}"\nocr = "off"\nworkers = 1\n')
    with Library(Settings(home=home, profile=str(profile), ocr="off", workers=1)) as library:
        library.ingest([ROOT / "data" / "sample"], collection="sample")
    return home


def run(python: Path, home: Path, code: str) -> None:
    done = subprocess.run(
        [python, "-c", code],
        capture_output=True, text=True, cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin", "HOME": str(home), "RAGCORE_HOME": str(home),
            "HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False",
            "LANGSMITH_TRACING": "false", "OMP_NUM_THREADS": "1",
            "RAGCORE_WEIGHTS_CACHE": str(Settings().weights_cache),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.full
def test_frameworks_find_the_same_ten_passages(python: Path, home: Path) -> None:
    run(python, home, CHECK)


@pytest.mark.full
def test_the_examples_of_the_page_run(python: Path, home: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert len(blocks) == 4
    for block in blocks:
        run(python, home, block)


@pytest.mark.parametrize("name", ["haystack", "langchain", "llamaindex", "mteb"])
def test_a_missing_framework_is_one_line_with_the_command(name: str) -> None:
    if not missing_modules(name):
        pytest.skip(f"{name} is installed here")
    with pytest.raises(MissingExtra, match=rf'pip install "ragcore\[{name}\]"'):
        __import__(f"ragcore.integrations.{name}")
