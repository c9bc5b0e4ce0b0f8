"""The models of a library's profile: which there are, fetched, in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ragcore.catalog import Permit
from ragcore.errors import UsageError
from ragcore.library.core import Core
from ragcore.library.scopes import scoped
from ragcore.types import CancelToken, ProgressCallback

if TYPE_CHECKING:
    from ragcore.library.model_adding import AddedModel
    from ragcore.library.model_profiles import ProfileOffer
    from ragcore.models import Circuit, LoadedModel, LocalServer, Preparation, Space, SpeechSegment
    from ragcore.types import FloatArray
    from ragcore.weights import Profile, WeightStatus


@scoped
class LibraryModels:
    """Models are made, shared and unloaded by `ragcore.models.Models`; this shows and steers it."""

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    @property
    def profile(self) -> Profile:
        """Raises UsageError for an unknown or wrong profile."""
        return self._core.models.profile

    @property
    def preparation(self) -> Preparation:
        """How far fetching and loading before the first use is."""
        return self._core.models.preparation

    @property
    def damaged_weights(self) -> tuple[str, ...]:
        """Weights that the check after the start found to differ from their checksums."""
        return self._core.models.damaged_weights

    def profiles(self) -> Sequence[str]:
        """The profiles that come with ragcore."""
        return self._core.models.profiles()

    def offers(self) -> Sequence[ProfileOffer]:
        """The profile in use and the others that come with ragcore, with what they need."""
        from ragcore.library.model_profiles import profile_offers

        return profile_offers(self._core.settings, self.profile)

    def weights(self) -> Sequence[WeightStatus]:
        """Every known set of weights with its state, size and license."""
        return self._core.models.weights()

    def circuits(self) -> Sequence[Circuit]:
        """Whether the model servers that this process asks answer."""
        from ragcore.models import circuits

        return circuits()

    def loaded(self) -> Sequence[LoadedModel]:
        """The models whose weights are in memory now, the least recently used first."""
        return self._core.models.loaded()

    def unload(self, name: str | None = None) -> int:
        """Unload the model called `name`, or all, unless in use; return how many were unloaded."""
        return self._core.models.unload(name)

    def prepare(self) -> Preparation:
        """Fetch and load the search models in the background; a second call does nothing."""
        return self._core.models.prepare()

    def process_memory(self) -> int:
        """Bytes of memory that this process and its readers use."""
        return self._core.models.process_memory()

    def device(self) -> dict[str, str | int | float | bool]:
        """Device, precision and why; raises UsageError if the settings ask for what is missing."""
        return self._core.models.device()

    def pull(
        self,
        names: Sequence[str] = (),
        *,
        profile: str = "",
        verify: bool = False,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Path]:
        """Fetch weights by name, or all that a profile needs; return their folders by name.

        `profile` is the name of one that comes with ragcore, or a TOML file; by default the one
        in use. `verify` checks every file's checksum too, and fetches again what differs. Raises
        UsageError for an unknown name, ModelUnavailable, Cancelled.
        """
        from ragcore.weights import WeightStore, load_profile

        settings = self._core.settings
        store = WeightStore(settings)
        if names:
            folders = {name: store.ensure(name, progress, cancel) for name in names}
        else:
            chosen = self.profile
            if profile:
                chosen = load_profile(settings.model_copy(update={"profile": profile}))
            folders = store.pull_profile(chosen, progress, cancel)
        return {name: store.repair(name, progress) for name in folders} if verify else folders

    def use_profile(self, profile: str = "") -> None:
        """Store a profile as the home's, for later starts.

        The name of one that comes with ragcore or a TOML file; empty: that of this library's
        settings. Raises UsageError for a profile that cannot be read, or where RAGCORE_PROFILE
        overrides what is stored.
        """
        from ragcore.settings import save_setting
        from ragcore.weights import load_profile

        settings = self._core.settings
        chosen = profile or settings.profile
        load_profile(settings.model_copy(update={"profile": chosen}))
        if os.environ.get("RAGCORE_PROFILE", chosen) != chosen:
            raise UsageError("RAGCORE_PROFILE is set and overrides the stored profile: unset it")
        save_setting(settings.home, "profile", chosen)

    def find_servers(self, ports: Sequence[int] = ()) -> Sequence[LocalServer]:
        """The model servers on this computer's loopback address, with their models.

        Looked for at their usual ports and at `ports`. Raises UsageError for what is no port.
        """
        from ragcore.models import find_servers

        return find_servers(ports)

    def write_served(self, name: str, *, part: str = "", ports: Sequence[int] = ()) -> Path:
        """Write a profile like this one with a model of a local server; return its file.

        `name` is "KIND:NAME" ("ollama:qwen3:4b"). `part` is the profile's part that it becomes
        (empty: by its task); a chat model that reads images answers about images, too. Raises
        UsageError for an unknown kind, model or part, ModelUnavailable where no server answers.
        """
        from ragcore.models import choose_served, served_part
        from ragcore.weights import ModelRef, write_own_profile

        server, model = choose_served(name, ports)
        chosen = part or model.part
        kind, options = served_part(server, model, chosen)
        changes: dict[str, ModelRef | None] = {chosen: ModelRef(model.name, kind, options)}
        if chosen == "llm" and model.vision:
            changes["vision_llm"] = None
        return write_own_profile(
            self._core.settings, self.profile, changes, title=f"{server.kind}-{model.name}"
        )

    def add(
        self,
        name: str,
        *,
        file: str = "",
        quantization: Literal["", "4bit", "8bit"] = "",
        accept_license: bool = False,
        dry_run: bool = False,
        progress: ProgressCallback | None = None,
    ) -> AddedModel:
        """Inspect a model, and write a profile like this one with it, unless `dry_run`.

        `name` is "hub:OWNER/NAME[@REVISION]", the address of a hub page or file, a folder or a
        .gguf file; `file` one of several GGUF files. Its weights are fetched before the profile is
        written. Raises UsageError for what is no model, for a license that was not accepted,
        ModelUnavailable.
        """
        from ragcore.library.model_adding import (
            AddedModel,
            Licenses,
            free_memory,
            inspect_model,
            quantized,
        )
        from ragcore.weights import ModelRef, WeightStore, write_own_profile

        settings = self._core.settings
        report = quantized(inspect_model(name, file=file), quantization)
        licenses = Licenses(settings.home)
        accepted = licenses.accepted(report)
        need = report.bytes + report.cache_bytes
        found = AddedModel(report, need, free_memory(settings), accepted)
        if dry_run:
            return found
        if not accepted and not accept_license:
            raise UsageError(
                f"{report.weights} has the license {report.license or 'unknown'}: read it, then "
                "accept it by --accept-license"
            )
        WeightStore(settings).ensure(
            report.weights, progress, file=str(report.options.get("file", ""))
        )
        licenses.accept(report)
        changes = {report.part: ModelRef(report.weights, report.kind, report.options)}
        title = Path(report.weights.removeprefix("hub:").removeprefix("local:")).stem
        return replace(
            found, profile=write_own_profile(settings, self.profile, changes, title=title)
        )

    def others(self) -> Sequence[str]:
        """Names of the collections that were embedded by other models than the profile's."""
        from ragcore.encoders import space_prefix

        catalog, profile = self._core.catalog, self._core.models.profile
        wanted = {"text": profile.text_encoder, "image": profile.image_text_encoder}
        names = []
        for row in catalog.collections():
            for modality, reference in wanted.items():
                active = catalog.active_space(row.id, modality)
                if active and reference:
                    prefix = active.name.partition("@")[0]
                    if prefix != space_prefix(reference.name) and row.name not in names:
                        names.append(row.name)
        return names

    @property
    def text_space(self) -> Space:
        """The space that `embed` embeds into. Raises UsageError without a text encoder."""
        return self._core.models.text_encoder().space

    def embed(
        self, texts: Sequence[str], *, kind: Literal["query", "passage"] = "query"
    ) -> FloatArray:
        """Unit vectors [n, dimension] of texts, each a "query" or a "passage"."""
        return self._core.models.text_encoder().encode(texts, kind=kind)

    def rerank(self, query: str, texts: Sequence[str]) -> FloatArray:
        """The relevance of each text by the profile's reranker: float32 [n], higher is better.

        Raises UsageError where the profile has none, ModelUnavailable.
        """
        reranker = self._core.models.reranker()
        if reranker is None:
            raise UsageError(
                f"profile {self.profile.name} has no reranker: docs/how-to/reranker.md says how to "
                "add one"
            )
        return reranker.scores(query, texts)

    def transcribe(
        self,
        sound: bytes | str | Path,
        *,
        name: str = "",
        language: str = "",
        cancel: CancelToken | None = None,
    ) -> Sequence[SpeechSegment]:
        """What is said in a recording or video, given as a path or as the file's bytes.

        `name` is the file's name, by whose suffix formats that begin alike are known. `language` is
        a code such as "de". Raises UsageError where the profile has no transcriber or it does not
        know the language, UnreadableFile, ModelUnavailable, Cancelled.
        """
        from ragcore.library.speech import transcribe

        return transcribe(self._core, sound, name=name, language=language, cancel=cancel)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text as the profile's LLM counts them."""
        return self._core.models.llm().count_tokens(text)
