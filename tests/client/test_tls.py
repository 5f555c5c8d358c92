"""A service that speaks TLS with a certificate of its own making."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from aphrodite.client import Client, ConnectionFailed
from aphrodite.service import daemon
from aphrodite.service.settings import ServiceSettings
from aphrodite.session import connect
from tests.service.running import DEMO


def certificate(folder: Path, name: str) -> Path:
    """A certificate, and its key beside it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout",
         str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / f"{name}.pem"


def test_its_certificate_is_trusted_where_it_is_named_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tempfile.mkdtemp(prefix="aph-")  # short: Unix sockets have short paths
    monkeypatch.setenv("APHRODITE_DATA_DIR", home)
    monkeypatch.setenv("APHRODITE_RUNTIME_DIR", home)
    own, other = certificate(tmp_path, "lab.example"), certificate(tmp_path, "other.example")
    settings = ServiceSettings(models=(DEMO,), port=0, tls_cert=str(own), tls_key=str(own.with_suffix(".key")))
    connection = daemon.up(settings).connection
    try:
        with connect() as session:  # the connection file names it
            assert session.generate("Once", max_tokens=1)[0].finished
        with Client(connection.url, certificate=own) as client:
            assert client.models()[0].id == "demo"
        for trusted in (None, other):
            with Client(connection.url, certificate=trusted, retries=0) as client:
                with pytest.raises(ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED"):
                    client.models()
    finally:
        daemon.down(connection.port)
        shutil.rmtree(home)
