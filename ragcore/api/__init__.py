"""The HTTP face: `create_app` makes an ASGI application over one `Library`, `serve` runs it."""

from ragcore.api.app import create_app
from ragcore.api.server import is_loopback, serve

__all__ = ["create_app", "is_loopback", "serve"]
