"""Where model files come from: registry, providers, cache, profiles."""

from ragcore.weights.profiles import ModelRef, Profile, load_profile, profile_names
from ragcore.weights.store import WeightStatus, WeightStore

__all__ = [
    "ModelRef",
    "Profile",
    "WeightStatus",
    "WeightStore",
    "load_profile",
    "profile_names",
]
