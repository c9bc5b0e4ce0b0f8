"""Which folders become which packages; everything else stands in pyproject.toml.

`app/` and `data/sample/` keep their places in the repository, and are installed under names
that no other distribution has.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["ragcore", "ragcore.*"]),
        "ragcore_app",
        *(f"ragcore_app.{name}" for name in find_packages("app")),
        "ragcore_sample",
    ],
    package_dir={"ragcore_app": "app", "ragcore_sample": "data/sample"},
)
