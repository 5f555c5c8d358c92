"""A real nginx in front of a service: its defaults, and connections to the service that it keeps and reuses."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.running import free_port, wait_for

# One process, so that whoever started it can end it; buffering, sizes and times are nginx's own defaults.
_CONFIG = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    upstream service {{ server 127.0.0.1:{service}; keepalive 2; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


def require_nginx() -> str:
    """Its path; where it is missing the test fails in continuous integration and is skipped elsewhere."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        assert os.environ.get("CI") != "true", "nginx is missing; .ci/environment installs it under CI=true"
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    return nginx


@contextlib.contextmanager
def nginx_before(service_port: int, folder: Path) -> Iterator[int]:
    """The port of an nginx that passes everything on to `service_port`; its files lie in `folder`."""
    nginx, port = require_nginx(), free_port()
    (folder / "nginx.conf").write_text(_CONFIG.format(service=service_port, port=port))
    process = subprocess.Popen([nginx, "-p", f"{folder}/", "-c", "nginx.conf", "-e", "error.log"])
    try:
        wait_for(lambda: process.poll() is not None or _listens(port), 20)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
