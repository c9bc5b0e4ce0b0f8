"""Data with known answers, for training and evaluation, and scores of what was found or said."""

from typing import TYPE_CHECKING

from ragcore.lazy import lazily

if TYPE_CHECKING:
    from ragcore.datasets.caption_questions import CaptionQuestion as CaptionQuestion
    from ragcore.datasets.caption_questions import make_questions as make_questions
    from ragcore.datasets.caption_questions import words_of as words_of
    from ragcore.datasets.contexts import Context as Context
    from ragcore.datasets.contexts import open_text as open_text
    from ragcore.datasets.contexts import read_contexts as read_contexts
    from ragcore.datasets.contexts import training_contexts as training_contexts
    from ragcore.datasets.icons import Icon as Icon
    from ragcore.datasets.icons import IconSet as IconSet
    from ragcore.datasets.icons import Part as Part
    from ragcore.datasets.icons import icon_captions as icon_captions
    from ragcore.datasets.icons import read_icons as read_icons
    from ragcore.datasets.icons import split_icons as split_icons
    from ragcore.datasets.icons import style_words as style_words
    from ragcore.datasets.image_metrics import caption_bleu as caption_bleu
    from ragcore.datasets.image_metrics import caption_recall as caption_recall
    from ragcore.datasets.image_metrics import label_recall as label_recall
    from ragcore.datasets.image_metrics import top_k as top_k
    from ragcore.datasets.image_sets import IMAGE_SUFFIXES as IMAGE_SUFFIXES
    from ragcore.datasets.image_sets import Captioned as Captioned
    from ragcore.datasets.image_sets import Captions as Captions
    from ragcore.datasets.image_sets import ImageSource as ImageSource
    from ragcore.datasets.image_sets import images_of as images_of
    from ragcore.datasets.image_sets import json_rows as json_rows
    from ragcore.datasets.image_sets import read_captioned as read_captioned
    from ragcore.datasets.neighbours import Neighbours as Neighbours
    from ragcore.datasets.qa_scores import cited as cited
    from ragcore.datasets.qa_scores import exact_match as exact_match
    from ragcore.datasets.qa_scores import normalized as normalized
    from ragcore.datasets.qa_scores import stands_in as stands_in
    from ragcore.datasets.qa_scores import token_f1 as token_f1
    from ragcore.datasets.qa_scores import without_citations as without_citations
    from ragcore.datasets.reliability import bins as bins
    from ragcore.datasets.reliability import calibration_error as calibration_error
    from ragcore.datasets.reliability import draw_reliability as draw_reliability
else:
    __getattr__ = lazily(
        __name__,
        {
            ".caption_questions": "CaptionQuestion make_questions words_of",
            ".contexts": "Context open_text read_contexts training_contexts",
            ".icons": "Icon IconSet Part icon_captions read_icons split_icons style_words",
            ".image_metrics": "caption_bleu caption_recall label_recall top_k",
            ".image_sets": (
                "Captioned Captions IMAGE_SUFFIXES ImageSource images_of json_rows read_captioned"
            ),
            ".neighbours": "Neighbours",
            ".qa_scores": "cited exact_match normalized stands_in token_f1 without_citations",
            ".reliability": "bins calibration_error draw_reliability",
        },
    )
