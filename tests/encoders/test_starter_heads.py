"""starter-clip's heads: their parts, and what is solved without training."""

from __future__ import annotations

import pytest
import torch

from ragcore.encoders import starter_clip, starter_heads, starter_space
from ragcore.encoders.clip_models import LoadedClip
from ragcore.settings import Settings
from ragcore.weights import WeightStore

PARTS = (starter_space.LEARNED, starter_space.CLASSES, starter_space.SEMANTIC)


@pytest.fixture(scope="module")
def solved(starter_weights: WeightStore) -> LoadedClip:
    torch.manual_seed(0)
    loaded = starter_clip.build_untrained(Settings())
    starter_clip.closed_form(loaded)
    return loaded


def test_dimension_is_the_sum_of_the_parts() -> None:
    assert starter_clip.DIMENSION == starter_space.DIMENSION == sum(PARTS)


@pytest.mark.full
def test_each_part_is_a_unit_vector_and_the_learned_one_empty(solved: LoadedClip) -> None:
    image_head, text_head = starter_clip.heads(solved.model)
    rng = torch.Generator().manual_seed(1)
    images = image_head(torch.rand(5, starter_heads.FEATURES, generator=rng))
    texts = text_head(torch.randn(5, starter_heads.WORDS, generator=rng))
    for vectors in (images, texts):
        learned, classes, semantic = vectors.split(PARTS, dim=-1)
        assert learned.abs().max() == 0
        torch.testing.assert_close(classes.norm(dim=-1), torch.ones(5))
        expected = torch.full((5,), starter_space.SEMANTIC_LENGTH)
        torch.testing.assert_close(semantic.norm(dim=-1), expected)


@pytest.mark.full
def test_a_class_is_seen_and_said(solved: LoadedClip) -> None:
    """Features along a class's weights, and its name, both point to that class first."""
    import open_clip

    image_head, text_head = starter_clip.heads(solved.model)
    classes = [1, 340, 430, 817, 985]  # goldfish, zebra, basketball, sports car, daisy
    usual = starter_clip.usual_features(solved.model)
    features = (usual + 12 * image_head.class_weight[classes]).relu()
    names = [open_clip.IMAGENET_CLASSNAMES[number] for number in classes]
    seen = image_head(features).split(PARTS, dim=-1)[1]
    said = text_head(starter_clip.pooled_texts(solved, names)).split(PARTS, dim=-1)[1]
    assert seen.argmax(-1).tolist() == classes
    assert said.argmax(-1).tolist() == classes
    assert (seen @ said.T).argmax(-1).tolist() == list(range(len(classes)))


@pytest.mark.full
def test_the_name_of_a_group_means_its_classes(solved: LoadedClip) -> None:
    _, text_head = starter_clip.heads(solved.model)
    vector = text_head(starter_clip.pooled_texts(solved, ["a snake"])).split(PARTS, dim=-1)[1]
    best = vector[0].topk(10).indices.tolist()
    assert all(52 <= number <= 68 for number in best)


def test_groups_are_of_classes_that_exist() -> None:
    names, members = starter_clip.class_groups()
    assert len(names) == len(set(names)) > 200
    assert all(kinds and min(kinds) >= 0 and max(kinds) < 1000 for kinds in members)


def test_turning_keeps_the_cosines_of_what_lies_in_few_dimensions() -> None:
    torch.manual_seed(0)
    image_head, text_head = starter_heads.ImageHead(), starter_heads.TextHead(1)
    width = starter_space.MEMBERS * starter_heads.WIDTH
    basis = torch.linalg.qr(torch.randn(width, 40))[0].T
    images, texts = torch.randn(90, 40) @ basis, torch.randn(70, 40) @ basis
    starter_heads.turn_together(image_head, text_head, images, texts)
    torch.testing.assert_close(image_head.mix, text_head.mix)
    turned = (images @ image_head.mix) @ (texts @ text_head.mix).T
    torch.testing.assert_close(turned, images @ texts.T, atol=1e-3, rtol=1e-3)


@pytest.mark.full
def test_centering_takes_off_what_images_have_in_common(solved: LoadedClip) -> None:
    image_head = starter_heads.ImageHead()
    given, _ = starter_clip.heads(solved.model)
    image_head.load_state_dict(given.state_dict())
    features = torch.rand(50, starter_heads.FEATURES, generator=torch.Generator().manual_seed(2))
    starter_heads.center(image_head, features)
    left = image_head.activations(features) - image_head.usual
    assert left.mean(0).abs().max() < 1e-5
