"""A connection to an SSH server whose key is known."""

from __future__ import annotations

import base64
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ragcore.errors import RagcoreError, UsageError
from ragcore.extras import require_extra

_SECONDS = 30.0  # for each step of the conversation


def connected(host: str, port: int, given: Mapping[str, Any], *, sock: socket.socket) -> Any:
    """The file system of fsspec, over a socket that is connected already.

    `given` may have `user`, `password`, `key_file`, `passphrase` and `host_key` ("ssh-ed25519
    AAAA…"). Raises UsageError for a host key that is not known, RagcoreError for others.
    """
    require_extra("remote", "files of SSH servers")
    import paramiko
    from fsspec.implementations.sftp import SFTPFileSystem

    class KnownHosts(SFTPFileSystem):  # type: ignore[misc]
        """It accepts a key that nobody knows otherwise, and connects by itself."""

        def _connect(self) -> None:
            self.client = paramiko.SSHClient()
            self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
            if "host_key" in given:
                name = host if port == 22 else f"[{host}]:{port}"
                kind, key = _host_key(str(given["host_key"]))
                self.client.get_host_keys().add(name, kind, key)
            else:
                self.client.load_system_host_keys()
            self.client.connect(host, **self.ssh_kwargs)
            self.ftp = self.client.open_sftp()
            self.ftp.get_channel().settimeout(_SECONDS)

    own = "key_file" in given or "password" in given
    key_file = str(Path(given["key_file"]).expanduser()) if "key_file" in given else None
    try:
        return KnownHosts(
            host,
            port=port,
            sock=sock,
            username=given.get("user"),
            password=given.get("password"),
            key_filename=key_file,
            passphrase=given.get("passphrase"),
            look_for_keys=not own,
            allow_agent=not own,
            timeout=_SECONDS,
            banner_timeout=_SECONDS,
            auth_timeout=_SECONDS,
            skip_instance_cache=True,
        )
    except paramiko.BadHostKeyException as error:
        raise UsageError(f"{host} has another key than the one that is known: {error}") from None
    except paramiko.AuthenticationException:
        raise RagcoreError(f"{host} does not accept the credentials") from None
    except paramiko.SSHException as error:
        if "not found in known_hosts" in str(error):
            raise UsageError(
                f"the key of {host} is not known: connect once with ssh, or write host_key into "
                "the credentials file"
            ) from None
        raise RagcoreError(f"{host}: {error}") from error


def _host_key(text: str) -> tuple[str, Any]:
    import paramiko

    try:
        kind, encoded = text.split()[:2]
        return kind, paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))
    except (ValueError, paramiko.SSHException, paramiko.UnknownKeyType) as error:
        raise UsageError(f"host_key is no public key, as in `ssh-ed25519 AAAA…`: {error}") from None
