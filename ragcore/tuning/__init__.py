"""Training from recipes: every task has a package; recipes and run folders are shared."""
