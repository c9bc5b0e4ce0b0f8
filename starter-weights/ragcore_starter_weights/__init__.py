"""Model weights for ragcore, as files: one folder for each model, with its model card.

ragcore reads them without importing this package. LICENSES.md has the terms of each.
"""
