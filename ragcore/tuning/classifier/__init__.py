"""Classifiers of images and texts: a head on features, LoRA, or all weights."""
