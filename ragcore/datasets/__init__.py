"""Sets of images with known captions or labels, and measures of what is found in them."""
