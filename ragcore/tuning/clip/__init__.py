"""Image-text models trained on images with captions: loss, towers, batches, recipe."""
