"""Conditions: what is taken from an image is what it should be."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ragcore.diffusion import CONDITIONS, edge_f1, extract
from ragcore.diffusion.canny_stages import STRONG, WEAK, canny_stages
from ragcore.diffusion.conditions import canny, condition_error, normals_of_depth
from ragcore.diffusion.skeleton import draw_skeletons
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.library import Library
from ragcore.settings import Settings

from .tiny import make_profile


@pytest.fixture
def scene() -> np.ndarray:
    """A red square and a blue disc on white, 96 x 96."""
    image = np.full((96, 96, 3), 255, np.uint8)
    cv2.rectangle(image, (12, 20), (44, 60), (200, 30, 30), -1)
    cv2.circle(image, (68, 60), 18, (30, 40, 200), -1)
    return image


def test_five_stages_end_where_opencv_does(scene: np.ndarray) -> None:
    stages = canny_stages(scene)
    assert [stage.title for stage in stages] == [
        "Gray and blurred", "Gradient", "Non-maximum suppression", "Double threshold",
        "Hysteresis",
    ]  # fmt: skip
    last = np.repeat(stages[-1].image[..., None], 3, axis=2)
    assert edge_f1(canny(scene), last) > 0.97
    gradient, thin = stages[1].image, stages[2].image
    assert (thin > 0).sum() < 0.5 * (gradient > 0).sum()
    assert set(np.unique(stages[3].image)) <= {0, WEAK, STRONG}
    assert set(np.unique(stages[4].image)) == {0, 255}


def test_hysteresis_keeps_weak_edges_only_beside_strong_ones() -> None:
    image = np.full((64, 64, 3), 255, np.uint8)
    image[:, 20:24] = 225  # a faint bar alone
    image[30:40, 40:60] = 0
    marked, kept = (stage.image for stage in canny_stages(image, low=20, high=200)[3:])
    assert (marked[:, 15:28] == WEAK).any()
    assert not kept[:, 15:28].any()
    assert kept[:, 38:62].any()


@pytest.mark.parametrize("kind", [k for k, about in CONDITIONS.items() if about.source == "here"])
def test_every_kind_that_is_made_here(kind: str, scene: np.ndarray) -> None:
    made = extract(kind, scene)
    assert made.shape == scene.shape
    assert made.dtype == np.uint8
    blank = extract(kind, np.full_like(scene, 255))
    if kind == "segmentation":
        assert blank.min() >= 250
        assert np.abs(made[40, 28].astype(int) - (200, 30, 30)).max() < 25
        assert len(np.unique(made.reshape(-1, 3), axis=0)) <= 6
    else:
        assert not blank.any()
        assert made.any()
        assert not made[2:10, 2:90].any()  # nothing where nothing is
    assert condition_error(kind, made, scene) < 0.1
    assert condition_error(kind, made, scene[:, ::-1].copy()) > 0.02


def test_hough_finds_straight_lines_only(scene: np.ndarray) -> None:
    lines = extract("hough", scene)[..., 0] > 0
    assert lines[20:62, 8:48].sum() > 60  # the square's sides
    assert lines[42:78, 50:88].sum() < 0.6 * lines[20:62, 8:48].sum()


def test_scribbles_are_thicker_than_edges(scene: np.ndarray) -> None:
    assert (extract("scribble", scene) > 0).mean() > 1.5 * (canny(scene) > 0).mean()


def test_normals_of_a_ramp_lean() -> None:
    flat = normals_of_depth(np.full((32, 32, 3), 100, np.uint8))
    assert np.abs(flat.astype(int) - (128, 128, 255)).max() <= 1
    ramp = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None, :, None], 32, 0).repeat(3, 2)
    assert normals_of_depth(ramp)[16, 16, 0] < 100


def test_depth_by_a_model_in_a_folder(tmp_path: Path, scene: np.ndarray) -> None:
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    from ragcore.diffusion.hub_conditions import DepthModel

    config = DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=37,
        image_size=32, patch_size=8, backbone_out_indices=[0, 1, 2, 3], fusion_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8], is_hybrid=False,
    )  # fmt: skip
    DPTForDepthEstimation(config).save_pretrained(tmp_path)
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    maker = DepthModel(tmp_path)
    depth = maker.depth(scene)
    assert depth.shape == scene.shape
    assert (depth.min(), depth.max()) == (0, 255)
    assert (depth[..., 0] == depth[..., 2]).all()
    assert maker.normals(scene)[..., 2].min() >= 127  # all face the viewer
    with pytest.raises(ModelUnavailable, match="no depth estimation model"):
        DepthModel(tmp_path / "nothing")


def save_pose_model(folder: Path) -> Path:
    """A ViTPose model with random weights that sees images of 64 x 48."""
    from transformers import VitPoseConfig, VitPoseForPoseEstimation, VitPoseImageProcessor

    backbone = {
        "model_type": "vitpose_backbone", "image_size": [64, 48], "patch_size": [16, 16],
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2,
        "out_indices": [2], "num_experts": 1,
    }  # fmt: skip
    config = VitPoseConfig(backbone_config=backbone, num_labels=17)
    VitPoseForPoseEstimation(config).save_pretrained(folder)
    VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(folder)
    return folder


def save_detector(folder: Path) -> Path:
    """An object detection model with random weights and one class, person."""
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    config = YolosConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=37,
        image_size=[64, 64], patch_size=16, num_detection_tokens=4, id2label={0: "person"},
        use_mid_position_embeddings=False,
    )  # fmt: skip
    YolosForObjectDetection(config).save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 64}
    YolosImageProcessor(size=size).save_pretrained(folder)
    return folder


def test_key_points_by_models_in_folders(tmp_path: Path, scene: np.ndarray) -> None:
    from ragcore.diffusion.hub_conditions import PoseModel

    pose = save_pose_model(tmp_path / "pose")
    (person,) = PoseModel(pose).people(scene)  # nobody looks for people: the whole image
    assert person.shape == (17, 3)
    assert person[:, :2].min() > -80  # the box is widened, and given the model's own form
    assert person[:, :2].max() < 176
    maker = PoseModel(pose, detector=save_detector(tmp_path / "detector"))
    assert len(maker.people(scene)) >= 1
    drawn = maker.condition("pose", scene)
    assert drawn.shape == scene.shape
    assert drawn.dtype == np.uint8
    with pytest.raises(ModelUnavailable, match="no pose estimation model"):
        PoseModel(tmp_path / "nothing")
    with pytest.raises(ModelUnavailable, match="no object detection model"):
        PoseModel(pose, detector=tmp_path / "nothing")


def test_a_skeleton_is_drawn_where_the_points_are() -> None:
    person = np.zeros((17, 3), np.float32)
    person[[0, 5, 6, 9, 7]] = [(64, 20, 1), (84, 40, 1), (44, 40, 1), (90, 80, 0.1), (90, 60, 0.9)]
    drawn = draw_skeletons((128, 128), [person])
    assert tuple(drawn[20, 64]) == (255, 0, 0)  # the nose
    assert tuple(drawn[40, 64]) == (255, 85, 0)  # the neck, between the shoulders
    assert drawn[30, 64].any()  # neck to nose
    assert drawn[50, 87].any()  # shoulder to elbow
    assert not drawn[70:, :].any()  # the wrist is not sure enough
    assert not draw_skeletons((16, 16), []).any()


def test_a_profile_names_what_makes_conditions(
    tmp_path: Path, tiny_folder: Path, scene: np.ndarray, starter_weights: object
) -> None:
    profile = make_profile(tmp_path, tiny_folder)
    pose = save_pose_model(tmp_path / "pose")
    text = profile.read_text("utf-8")
    more = f'[conditions.pose]\nweights = "local:{pose}"\nkind = "pose-estimation"\n'
    profile.write_text(text + more, "utf-8")
    file = io.BytesIO()
    Image.fromarray(scene).save(file, "PNG")
    with Library(Settings(home=tmp_path / "home", profile=str(profile))) as library:
        assert library.diffusion.model.condition_models == {"pose": f"local:{pose}"}
        made = Image.open(io.BytesIO(library.diffusion.condition("pose", file.getvalue(), size=64)))
        assert made.size == (64, 64)
        by_name = library.diffusion.condition(
            "pose", file.getvalue(), size=64, model=f"local:{pose}"
        )
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(by_name))), np.asarray(made))
        with pytest.raises(UsageError, match=r"conditions\.depth"):
            library.diffusion.condition("depth", file.getvalue())
        with pytest.raises(UsageError, match="a model makes depth, normals, pose"):
            library.diffusion.condition("canny", file.getvalue(), model=f"local:{pose}")
    profile.write_text(text + more.replace("conditions.pose", "conditions.canny"), "utf-8")
    with (
        Library(Settings(home=tmp_path / "home", profile=str(profile))) as library,
        pytest.raises(UsageError, match="a pose-estimation model makes pose"),
    ):
        library.diffusion.condition("canny", file.getvalue())


def test_kinds_that_are_not_made_here() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(UsageError, match="give the condition itself"):
        extract("pose", image)
    with pytest.raises(UsageError, match="unknown condition 'smell'"):
        extract("smell", image)


def test_edge_f1() -> None:
    one = np.zeros((32, 32, 3), np.uint8)
    one[8:24, 8] = 255
    beside, far = np.roll(one, 1, axis=1), np.roll(one, 8, axis=1)
    assert edge_f1(one, one) == edge_f1(one, beside) == 1
    assert edge_f1(one, far) == 0
    assert edge_f1(one, np.zeros_like(one)) == 0
    half = one.copy()
    half[16:] = 0
    assert 0.5 < edge_f1(one, half) < 0.8
