"""Settings: from keyword arguments, then RAGCORE_* variables, then $RAGCORE_HOME/settings.toml."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError

from ragcore.errors import UsageError
from ragcore.files import replace_private
from ragcore.redaction import remember, remember_url


def _default_home() -> Path:
    return Path(platformdirs.user_data_dir("ragcore", appauthor=False))


def _default_cache() -> Path:
    return Path(platformdirs.user_cache_dir("ragcore", appauthor=False))


class Settings(BaseSettings):
    """Everything that can be set. Each field is the variable RAGCORE_<NAME>.

    Raises UsageError, naming the setting, for a value that cannot be.
    """

    model_config = SettingsConfigDict(env_prefix="RAGCORE_", extra="forbid", frozen=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problem = error.errors()[0]
            name = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                raise UsageError(
                    f"there is no setting {name!r} (see docs/reference/settings.md)"
                ) from None
            raise UsageError(f"setting {name}: {problem['msg']}") from None
        except (SettingsError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"the settings cannot be read: {error}") from None
        remember_url(self.database_url)
        remember_url(self.vectors)
        remember(self.vectors_token)
        remember(self.vectors_token.partition(":")[2])

    home: Path = Field(
        default_factory=_default_home,
        description="Folder of everything that is written: catalog, indexes, thumbnails.",
    )
    weights_cache: Path = Field(
        default_factory=lambda: _default_cache() / "weights",
        description="Folder of downloaded and converted model weights.",
    )
    database_url: str = Field(
        default="",
        repr=False,
        description="SQLAlchemy URL of the catalog; empty: SQLite inside `home`.",
    )
    vectors: str = Field(
        default="",
        description="Where vectors are searched; empty: FAISS inside `home`; else a Milvus address "
        "as in `http://host:19530`, or a Milvus Lite folder whose name ends in `.db`.",
    )
    vectors_token: str = Field(
        default="",
        repr=False,
        description="What Milvus lets us in by: `user:password` or an API key.",
    )
    profile: str = Field(
        default="starter",
        description="Set of models: tiny, starter, standard, large, or a path to a TOML file.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models run; auto: the GPU where there is one."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Number format of the models; auto: chosen by a probe (see `ragcore doctor`).",
    )
    model_memory_mb: int = Field(
        default=0,
        ge=0,
        description="Memory that the models on a device may take together, in MiB; idle ones make "
        "room for others; 0: what is free there.",
    )
    threads: int = Field(default=0, ge=0, description="CPU threads of a model; 0: all cores.")
    workers: int = Field(
        default=0, ge=0, description="Reader processes at ingest; 0: number of cores."
    )
    max_file_mb: int = Field(default=512, gt=0, description="Larger files are refused, in MiB.")
    max_megapixels: int = Field(
        default=100, gt=0, description="Larger images are refused before they are decoded."
    )
    max_attachments: int = Field(
        default=100,
        ge=0,
        description="Attached files of one e-mail that are read, with those of the messages "
        "forwarded in it.",
    )
    read_timeout: int = Field(
        default=300, gt=0, description="Seconds after which reading one file is given up."
    )
    reader_memory_mb: int = Field(
        default=0,
        ge=0,
        description="Memory of one reader process in MiB; 0: a share of the machine's memory or "
        "of the control group's limit, at most 2048.",
    )
    ingest_engine: Literal["local", "ray"] = Field(
        default="local",
        description="Where files are read and embedded: this machine, or a Ray cluster.",
    )
    ray_address: str = Field(
        default="",
        description="HOST:PORT of the Ray cluster; empty: the one this machine belongs to.",
    )
    ocr: Literal["auto", "off", "always"] = Field(
        default="auto", description="Text recognition: scanned pages and images, never, or all."
    )
    captions: Literal["off", "on"] = Field(
        default="off",
        description="Whether ingest has a model caption images that have no caption.",
    )
    allowed_roots: Annotated[list[Path], NoDecode] = Field(
        default_factory=list,
        description="If given, only files under these folders are ingested or served; in the "
        "variable, folders are separated as in PATH.",
    )
    search_timeout: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="Seconds that one database statement of a search may take.",
    )
    answer_threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description='Answers whose confidence is lower become "I don\'t know." (0: none does).',
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines on stderr: for people, or one JSON object each."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="The least that is logged; info: each request and job too."
    )
    ui_upload_mb: int = Field(
        default=200,
        gt=0,
        description="Largest file that the browser pages and the API take, in MiB.",
    )
    trusted_proxies: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Addresses or networks of reverse proxies whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed; in the variable, separated by commas.",
    )
    private_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Hosts, addresses or networks that sources may connect to although they are "
        "not public, as in `nas.lan, 10.1.0.0/16`; in the variable, separated by commas.",
    )
    source_credentials: Path | None = Field(
        default=None,
        description="TOML file with the credentials of sources by URL; empty: `credentials.toml` "
        "in `home`.",
    )
    crawl_pages: int = Field(
        default=1000, gt=0, description="Pages that one crawl of a web site takes, at most."
    )
    crawl_depth: int = Field(
        default=5, ge=0, description="Links that a crawl follows in a row from its first page."
    )
    crawl_delay: float = Field(
        default=1.0,
        ge=0,
        description="Seconds between two requests to a web site; its robots.txt may ask for more.",
    )
    trash_days: int = Field(
        default=30,
        ge=0,
        description="Days that deleted documents stay in the trash; 0: until it is emptied.",
    )
    upload_quota_mb: int = Field(
        default=0, ge=0, description="What the uploads of one collection may take, in MiB; 0: any."
    )
    upload_quota_key_mb: int = Field(
        default=0, ge=0, description="What the uploads of one API key may take, in MiB; 0: any."
    )
    max_image_cost: float = Field(
        default=200.0,
        gt=0,
        description="Steps x images x megapixels that one request for images, and all unfinished "
        "ones of a key, may cost.",
    )
    api_rate: int = Field(
        default=600, ge=0, description="Requests a minute that one API key may make; 0: any number."
    )
    api_waiting: int = Field(
        default=64, gt=0, description="Searches, and questions, that may wait; more are refused."
    )
    api_longest_wait: int = Field(
        default=120,
        gt=0,
        description="Seconds that a search or question may be expected to wait; beyond them it is "
        "refused.",
    )

    @field_validator("home", "weights_cache")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("allowed_roots", mode="before")
    @classmethod
    def _split(cls, roots: Any) -> Any:
        return (
            [part for part in roots.split(os.pathsep) if part] if isinstance(roots, str) else roots
        )

    @field_validator("trusted_proxies", "private_hosts", mode="before")
    @classmethod
    def _split_commas(cls, given: Any) -> Any:
        return [one.strip() for one in given.split(",")] if isinstance(given, str) else given

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, given: list[str]) -> list[str]:
        networks = [one for one in given if one]
        for one in networks:
            try:
                ipaddress.ip_network(one)
            except ValueError:
                raise ValueError(f"{one!r} is no address or network such as 10.0.0.0/8") from None
        return networks

    @field_validator("private_hosts")
    @classmethod
    def _hosts(cls, given: list[str]) -> list[str]:
        return [one for one in given if one]

    @field_validator("allowed_roots")
    @classmethod
    def _resolved(cls, roots: list[Path]) -> list[Path]:
        return [root.expanduser().resolve() for root in roots]

    @cached_property
    def catalog_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'catalogue.db'}"

    @property
    def indexes(self) -> Path:
        """Folder of the vector indexes, one sub-folder a collection and space."""
        return self.home / "indexes"

    @property
    def media(self) -> Path:
        """Folder of the images that were found inside documents, by content hash."""
        return self.home / "media"

    @property
    def uploads(self) -> Path:
        """Folder of the files that came through the browser, one sub-folder a collection."""
        return self.home / "uploads"

    @property
    def readable_roots(self) -> list[Path]:
        """Folders that files may come from: the allowed ones and the uploads; empty: any."""
        return [*self.allowed_roots, self.uploads.resolve()] if self.allowed_roots else []

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = init_settings().get("home") or env_settings().get("home") or _default_home()
        toml = TomlConfigSettingsSource(settings_cls, Path(str(home)) / "settings.toml")
        return init_settings, env_settings, toml


def save_setting(home: Path, name: str, value: str | int | bool) -> Path:
    """Write one setting into `home`/settings.toml, the other lines as they are; return the file.

    Raises UsageError for an unknown name or a value that the setting does not take.
    """
    Settings(**{"home": home, name: value})
    path = home / "settings.toml"
    text = path.read_text("utf-8") if path.exists() else ""
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    text, found = re.subn(rf"(?m)^[ \t]*{name}[ \t]*=.*$", lambda _: line, text, count=1)
    if not found:
        text = f"{line}\n{text}"
    tomllib.loads(text)
    replace_private(path, text)
    return path
