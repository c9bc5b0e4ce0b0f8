"""Where model files come from: registry, providers, cache, profiles."""

from ragcore.weights.code_scan import refuse_remote_code
from ragcore.weights.inspection import FolderFiles, HubFiles, ModelReport, inspect_files
from ragcore.weights.profile_file import write_own_profile
from ragcore.weights.profiles import ModelRef, Profile, load_profile, profile_names
from ragcore.weights.providers.local import SAFE_SUFFIXES
from ragcore.weights.registry import find_entry, origin_of, registered
from ragcore.weights.store import WeightStatus, WeightStore

__all__ = [
    "SAFE_SUFFIXES",
    "FolderFiles",
    "HubFiles",
    "ModelRef",
    "ModelReport",
    "Profile",
    "WeightStatus",
    "WeightStore",
    "find_entry",
    "inspect_files",
    "load_profile",
    "origin_of",
    "profile_names",
    "refuse_remote_code",
    "registered",
    "write_own_profile",
]
