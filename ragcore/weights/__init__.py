"""Where model files come from: registry, providers, cache, profiles."""

from ragcore.weights.code_scan import refuse_remote_code
from ragcore.weights.profiles import ModelRef, Profile, load_profile, profile_names
from ragcore.weights.providers.local import SAFE_SUFFIXES
from ragcore.weights.registry import origin_of
from ragcore.weights.store import WeightStatus, WeightStore

__all__ = [
    "SAFE_SUFFIXES",
    "ModelRef",
    "Profile",
    "WeightStatus",
    "WeightStore",
    "load_profile",
    "origin_of",
    "profile_names",
    "refuse_remote_code",
]
