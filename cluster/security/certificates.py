"""Certificates: made for development, read by our servers and clients, handed to Ray."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cluster.clock import Clock, SystemClock
from cluster.errors import ConfigError
from cluster.security.key_file import refuse_open_file
from cluster.storage.files import write_whole

CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"
"""Names in a folder, as Kubernetes mounts a TLS secret."""
AUTHORITY_NAME = "Heliotrope development authority"
DAYS = 90


def make_development_certificates(
    folder: Path, hosts: Sequence[str] = ("localhost", "127.0.0.1"), clock: Clock | None = None
) -> None:
    """Write a certificate for `hosts`, its key, and the authority that signed it, whose own key is thrown away.

    Good for both sides of a connection, and for 90 days. Nobody can sign a second one; make all new instead.

    Parameters
    ----------
    folder
        Where to; files that are there are replaced.
    hosts
        Names and addresses that the certificate is for.

    Raises
    ------
    ConfigError
        The library `cryptography` is not installed, or there is no host.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise ConfigError('making certificates needs a library: pip install "heliotrope[tls]"') from error
    if not hosts:
        raise ConfigError("certificate: got no host, expected at least one name or address")
    now = datetime.fromtimestamp((clock or SystemClock()).now_s(), UTC)
    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _authority(root, now)
    certificate = _leaf(key, hosts, root, now)
    write_whole(folder / AUTHORITY, _pem(authority))
    write_whole(folder / CERTIFICATE, _pem(certificate) + _pem(authority))
    write_whole(folder / KEY, _key_pem(key))


def certificate_files(folder: Path, *, authority: bool = False) -> tuple[Path, Path, Path | None]:
    """Return certificate, key and, where asked for, authority of a folder.

    Raises
    ------
    ConfigError
        One is missing, or the key is open to others.
    """
    wanted = [CERTIFICATE, KEY, *([AUTHORITY] if authority else [])]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"TLS folder '{folder}': got no {', '.join(missing)}, expected {', '.join(wanted)} "
            "(`heliotrope certificates FOLDER` makes some for development)",
            missing=missing,
        )
    refuse_open_file(folder / KEY, "TLS key")
    return folder / CERTIFICATE, folder / KEY, folder / AUTHORITY if authority else None


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return how our clients check servers: the public authorities, and those of a file."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise ConfigError(
                f"ML_CA_FILE: got '{ca_file}', which cannot be read ({error}), expected certificates in PEM form"
            ) from error
    return context


def _authority(root: Any, now: datetime) -> Any:
    from cryptography.hazmat.primitives import hashes

    return _begun(AUTHORITY_NAME, root, root, now, authority=True).sign(root, hashes.SHA256())


def _leaf(key: Any, hosts: Sequence[str], root: Any, now: datetime) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        _begun(hosts[0], key, root, now, authority=False)
        .add_extension(x509.SubjectAlternativeName(list(map(_host, hosts))), critical=False)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .sign(root, hashes.SHA256())
    )


def _begun(name: str, key: Any, signer: Any, now: datetime, *, authority: bool) -> Any:
    """Return what an authority and a certificate have in common."""
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(AUTHORITY_NAME))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that is a little behind must not refuse it.
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_usage(authority), critical=True)
    )


def _named(name: str) -> Any:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _usage(authority: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.PEM))


def _key_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
