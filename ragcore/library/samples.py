"""The sample documents that come with ragcore."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ragcore.errors import RagcoreError

SAMPLE = "sample"  # the collection


def copy_documents(folder: Path) -> Path:
    """Copy the sample documents into `folder`/documents; return that.

    Files that exist already are left alone, so that a second time ingests nothing again.
    """
    target = folder / "documents"
    target.mkdir(parents=True, exist_ok=True)
    for one in package_folder("ragcore_sample").iterdir():
        copy = target / one.name
        if one.is_file() and not copy.exists():
            copy.write_bytes(one.read_bytes())
    return target


def package_folder(package: str) -> Path:
    """Where a package's files are, without importing it.

    importlib.resources (3.11) fails for a package without `__init__.py` that is installed editable:
    its path has an entry that is no folder. Raises RagcoreError for one that is missing.
    """
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    for place in places or ():
        if Path(place).is_dir():
            return Path(place)
    raise RagcoreError(f"the package {package} is missing: install ragcore again")
