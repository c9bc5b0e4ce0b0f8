"""Mail as sources: a real IMAP server (dovecot), mailboxes, Maildir folders."""

from __future__ import annotations

import datetime as dt
import imaplib
import mailbox
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest
from imap_tools.utils import encode_folder

from ragcore.errors import RagcoreError, UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.sources import Source, open_source
from ragcore.testing import SourceConformance
from tests.ingest.format_samples import message
from tests.ingest.ingest_samples import outcome
from tests.waiting import wait_until

PASSWORD = "correct horse battery"


def settings_at(home: Path, **more: object) -> Settings:
    return Settings(home=home, workers=1, ocr="off", private_hosts=["127.0.0.1"], **more)


class TestMbox(SourceConformance):
    @pytest.fixture
    def open(self, tmp_path: Path) -> Callable[[str], Source]:
        return lambda url: open_source(url, settings_at(tmp_path / "home"))

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        box = mailbox.mbox(tmp_path / "mail.mbox")
        for number in range(3):
            box.add(message(f"Berths {number}", "Berth 4 is closed.\n"))
        box.add(message("Berths 0", "Berth 4 is closed.\n"))  # the same again
        box.close()
        return f"mbox://{tmp_path}/mail.mbox"


class TestMaildir(SourceConformance):
    @pytest.fixture
    def open(self, tmp_path: Path) -> Callable[[str], Source]:
        return lambda url: open_source(url, settings_at(tmp_path / "home"))

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        box = mailbox.Maildir(tmp_path / "mail")
        box.add(message("Berths", "Berth 4 is closed.\n"))
        box.add_folder("Harbor").add(message("Pilots", "Two pilots are ill.\n"))
        return f"maildir://{tmp_path}/mail"


def test_a_mailbox_is_kept_in_step(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "mail.mbox")
    box.add(message("Berths", "Berth 4 is closed.\n"))
    gone = box.add(message("Pilots", "Two pilots are ill.\n"))
    box.flush()
    url = f"mbox://{tmp_path}/mail.mbox"
    with Library(settings_at(tmp_path / "home")) as library:
        assert outcome(library.ingest([url])) == (2, 0, 0, 0, 0, 0)
        assert {row.title for row in library.documents.list()[0]} == {"Berths", "Pilots"}
        box.remove(gone)
        box.add(message("Tides", "High water is at six.\n"))
        box.flush()
        assert outcome(library.ingest([url], sync=True)) == (1, 0, 1, 0, 1, 0)
        assert {row.title for row in library.documents.list()[0]} == {"Berths", "Tides"}


@pytest.mark.parametrize("url", ["mbox:///nowhere/mail", "maildir:///usr", "mbox://mail.mbox"])
def test_what_is_no_mailbox_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError):
        open_source(url, settings_at(tmp_path / "home"))


# --- IMAP ----------------------------------------------------------------------------------


@dataclass
class Server:
    """Dovecot on a loopback address, with one account, `ann`."""

    port: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"imaps://127.0.0.1:{self.port}"

    def client(self) -> imaplib.IMAP4_SSL:
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        found = imaplib.IMAP4_SSL("127.0.0.1", self.port, ssl_context=trusted)
        found.login("ann", PASSWORD)
        return found

    def add(self, folder: str, mail: EmailMessage) -> None:
        client, name = self.client(), encode_folder(folder).decode()
        client.create(name)
        status, data = client.append(name, "", imaplib.Time2Internaldate(0), mail.as_bytes())
        assert status == "OK", data
        client.logout()

    def credentials_text(self, password: str = PASSWORD) -> str:
        return (
            f'["{self.url}"]\nuser = "ann"\npassword = "{password}"\n'
            f'ca_file = "{self.certificate}"\n'
        )

    def credentials(self, home: Path, password: str = PASSWORD) -> None:
        home.mkdir(exist_ok=True)
        file = home / "credentials.toml"
        file.write_text(self.credentials_text(password))
        file.chmod(0o600)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


@pytest.fixture
def server() -> Iterator[Server]:
    with open_server() as found:
        yield found


@contextmanager
def open_server() -> Iterator[Server]:
    # Dovecot's processes have another user's rights, and pytest's folders are closed to them.
    with tempfile.TemporaryDirectory(prefix="ragcore-dovecot-") as name:
        Path(name).chmod(0o755)
        with _dovecot(Path(name)) as found:
            yield found


@contextmanager
def _dovecot(folder: Path) -> Iterator[Server]:
    program = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")
    if program is None or os.geteuid() != 0:
        pytest.skip("there is no dovecot (Debian's dovecot-imapd) that could be started here")
    certificate, private = write_certificate(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "passwd").write_text(f"ann:{{PLAIN}}{PASSWORD}::::::\n")
    mail = folder / "mail"
    mail.mkdir()
    shutil.chown(mail, "mail", "mail")
    (folder / "dovecot.conf").write_text(
        f"""base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{private}
mail_location = maildir:{mail}/%u:LAYOUT=fs
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = {folder}/passwd
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={mail}/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Junk {{
    special_use = \\Junk
    auto = create
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
  }}
}}
"""
    )
    process = subprocess.Popen(
        [program, "-F", "-c", str(folder / "dovecot.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    found = Server(port, certificate)

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            found.client().logout()
        except OSError:
            return False
        return True

    try:
        wait_until(answers, "the start of dovecot")
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


class TestImap(SourceConformance):
    @pytest.fixture
    def open(self, tmp_path: Path, server: Server) -> Callable[[str], Source]:
        server.credentials(tmp_path / "home")
        return lambda url: open_source(url, settings_at(tmp_path / "home"))

    @pytest.fixture
    def url(self, server: Server) -> str:
        server.add("INBOX", message("Berths", "Berth 4 is closed.\n"))
        server.add("INBOX", message("Tides", "High water is at six.\n"))
        server.add("Harbor/Größe", message("Pilots", "Two pilots are ill.\n"))
        return server.url

    def test_junk_is_left_out_unless_it_is_named(
        self, open: Callable[[str], Source], server: Server
    ) -> None:
        server.add("Junk", message("Win", "You have won.\n"))
        skipped = [str(one.location) for one in open(server.url).list() if hasattr(one, "reason")]
        assert skipped == [f"{server.url}/Junk"]
        assert [one.name for one in open(f"{server.url}/Junk").list()] != []


def test_a_mailbox_of_a_server_is_kept_in_step(tmp_path: Path, server: Server) -> None:
    mail = message("Berths", "Berth 4 is closed.\n")
    mail.add_attachment("The list of berths: 1, 2 and 4.\n", filename="berths.txt")
    server.add("INBOX", mail)
    server.add("Harbor", message("Pilots", "Two pilots are ill.\n"))
    server.credentials(tmp_path / "home")
    with Library(settings_at(tmp_path / "home")) as library:
        source = library.sources.add(server.url)
        report = library.sources.sync(source.id).report
        assert (report["added"], report["failed"]) == (2, 0)
        assert {row.title for row in library.documents.list()[0]} == {"Berths", "Pilots"}
        hit = library.search("list of berths", kind="passages", cutoff=0).hits[0]
        assert hit.path.startswith(f"{server.url}/INBOX/")

        client = server.client()
        client.select("INBOX")
        _, [flags] = client.fetch("1", "(FLAGS)")
        assert b"Seen" not in flags, "reading it here does not make it read"
        client.store("1", "+FLAGS", "\\Deleted")
        client.expunge()
        client.logout()
        server.add("INBOX", message("Tides", "High water is at six.\n"))
        report = library.sources.sync(source.id).report
        assert (report["added"], report["removed"], report["unchanged"]) == (1, 1, 1)
        assert {row.title for row in library.documents.list()[0]} == {"Pilots", "Tides"}
    written = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    secret = [path.name for path in written if PASSWORD.encode() in path.read_bytes()]
    assert secret == ["credentials.toml"]


def test_a_server_that_does_not_let_us_in(tmp_path: Path, server: Server) -> None:
    settings = settings_at(tmp_path / "home")
    with pytest.raises(UsageError, match="no user and password"):
        list(open_source(server.url, settings).list())
    server.credentials(tmp_path / "home", "wrong")
    with pytest.raises(RagcoreError, match="does not let ann in"):
        list(open_source(server.url, settings).list())
    server.credentials(tmp_path / "home")
    strict = Settings(home=tmp_path / "home")
    with pytest.raises(RagcoreError, match="private_hosts"):
        list(open_source(server.url, strict).list())
    with pytest.raises(UsageError, match="no folder"):
        list(open_source(f"{server.url}/Nowhere", settings).list())
    file = tmp_path / "home" / "credentials.toml"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if "ca_file" not in line))
    with pytest.raises(RagcoreError, match="certificate that is not trusted"):
        list(open_source(server.url, settings).list())
