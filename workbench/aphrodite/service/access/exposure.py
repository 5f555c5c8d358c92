"""How open the service is: what its settings let in, and what they may not let in."""

from __future__ import annotations

from collections.abc import Collection

from aphrodite.service.access.gate import Rules
from aphrodite.service.access.hosts import Hosts, checked_origins, is_loopback
from aphrodite.service.access.keys import KeyStore
from aphrodite.service.runtime import ServiceError, data_directory
from aphrodite.service.settings import ServiceSettings

_STORE = "keys.sqlite"


def key_store() -> KeyStore:
    """The keys of this user's services.

    Raises:
        KeyStoreError: the file cannot be used.
    """
    return KeyStore(data_directory() / _STORE)


def rules(settings: ServiceSettings, open_paths: Collection[str]) -> Rules:
    """What the gate goes by."""
    hosts = Hosts(settings.host, settings.allowed_hosts)
    return Rules(hosts, checked_origins(settings.allowed_origins), frozenset(open_paths), settings.require_key)


def check(settings: ServiceSettings) -> None:
    """Refuse settings that would let anybody in.

    Raises:
        ServiceError: what is missing, and what to do.
    """
    try:
        rules(settings, ())
    except ValueError as error:
        raise ServiceError(str(error)) from error
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise ServiceError("--tls-cert and --tls-key belong together: a certificate and its private key, as PEM files")
    if not is_loopback(settings.host):
        _check_open_address(settings)


def _check_open_address(settings: ServiceSettings) -> None:
    if not any(key.digest for key in key_store().all()):
        raise ServiceError(
            f"listening on {settings.host} lets other machines in, and there is no key yet: make one with "
            "`aphrodite keys add NAME`, then start again"
        )
    if not settings.tls_cert and not settings.insecure_http:
        raise ServiceError(
            f"listening on {settings.host} without TLS lets everybody on the way read keys and prompts: give "
            "--tls-cert and --tls-key, or --insecure-http where the network itself is private"
        )
