"""Where files come from: one provider per file, all with `fetch` of `base.Provider`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragcore.weights.providers.base import Fetched, Provider, Reporter
from ragcore.weights.registry import ProviderName

if TYPE_CHECKING:
    from ragcore.weights.cache import WeightCache

__all__ = ["Fetched", "Provider", "Reporter", "provider_for"]


def provider_for(name: ProviderName, cache: WeightCache) -> Provider:
    """The provider called `name`; its module is imported when it is first asked for.

    `cache` is where weights of our own are unpacked that are not installed.
    """
    if name == "wheel":
        from ragcore.weights.providers.wheel import WheelProvider

        return WheelProvider()
    if name == "parts":
        from ragcore.weights.providers.parts import PartsProvider

        return PartsProvider()
    if name == "hub":
        from ragcore.weights.providers.hub import HubProvider

        return HubProvider()
    if name == "package":
        from ragcore.weights.providers.package import PackageProvider

        return PackageProvider(cache)
    from ragcore.weights.providers.local import LocalProvider

    return LocalProvider()
