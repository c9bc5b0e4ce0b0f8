"""The face for assistants: collections as tools of the Model Context Protocol."""

from ragcore.mcp.server import make_server

__all__ = ["make_server"]
