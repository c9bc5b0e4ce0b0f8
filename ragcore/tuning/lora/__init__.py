"""Low-rank adapters of language models, and how sure the adapted model's answers are."""
