"""What the profiles that come with ragcore bring and need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ragcore.settings import Settings
from ragcore.weights import Profile, WeightStore, load_profile, profile_names


@dataclass(frozen=True, slots=True)
class ProfileOffer:
    """A profile: its models by part, the bytes of their files, and those not here yet.

    `unknown` are models whose size only their hub knows; `active` is the profile in use.
    """

    name: str
    description: str
    models: Mapping[str, str]
    bytes: int
    missing: int
    unknown: tuple[str, ...]
    active: bool


def profile_offers(settings: Settings, active: Profile) -> list[ProfileOffer]:
    """The profile in use, then the others that come with ragcore, by name."""
    names = [name for name in profile_names() if name != active.name]
    others = [load_profile(settings.model_copy(update={"profile": name})) for name in names]
    store = WeightStore(settings)
    return [_offer(store, profile, profile is active) for profile in (active, *others)]


def _offer(store: WeightStore, profile: Profile, active: bool) -> ProfileOffer:
    parts = list(profile.parts())
    needed = dict.fromkeys(
        name
        for _, reference in parts
        if reference.needs_weights
        for name in (reference.name, *reference.also)
    )
    states = store.status(needed)
    missing = [one for one in states if one.state != "ready"]
    return ProfileOffer(
        name=profile.name,
        description=profile.description,
        models={part: reference.name for part, reference in parts},
        bytes=sum(one.size for one in states),
        missing=sum(one.size for one in missing),
        unknown=tuple(one.name for one in missing if not one.size),
        active=active,
    )
