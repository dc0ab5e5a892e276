"""Certificates and Ray's variables: what is made, what is refused."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cluster.clock import ManualClock
from cluster.errors import ConfigError
from cluster.security.certificates import certificate_files, client_context, make_development_certificates
from cluster.security.ray_environment import ray_variables
from cluster.settings import Settings
from cluster.tls_front import front_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    make_development_certificates(made, ["localhost", "127.0.0.1"])
    return made


def settings(**variables: str) -> Settings:
    return Settings.from_environment(variables)


def test_a_certificate_is_for_its_hosts_and_signed_by_the_authority(folder: Path) -> None:
    from cryptography import x509

    certificate = x509.load_pem_x509_certificates((folder / "tls.crt").read_bytes())[0]
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert stat.S_IMODE((folder / "tls.key").stat().st_mode) == 0o600


def test_it_lasts_from_now_for_ninety_days(tmp_path: Path) -> None:
    from cryptography import x509

    make_development_certificates(tmp_path, ["localhost"], ManualClock(1_700_000_000))
    certificate = x509.load_pem_x509_certificates((tmp_path / "tls.crt").read_bytes())[0]
    now = datetime.fromtimestamp(1_700_000_000, UTC)
    assert certificate.not_valid_before_utc < now
    assert (certificate.not_valid_after_utc - now).days == 90
    with pytest.raises(ConfigError, match="got no host"):
        make_development_certificates(tmp_path, [])


def test_a_folder_names_what_it_lacks(folder: Path, tmp_path: Path) -> None:
    assert certificate_files(folder, authority=True) == (folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    with pytest.raises(ConfigError, match=r"got no tls\.crt, tls\.key, ca\.crt, expected"):
        certificate_files(tmp_path, authority=True)
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "tls.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"TLS key .* is open to others"):
        certificate_files(tmp_path)


def test_clients_verify_always_and_a_file_that_is_none_is_named(folder: Path, tmp_path: Path) -> None:
    context = client_context(folder / "ca.crt")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert client_context(None).verify_mode == ssl.CERT_REQUIRED
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(ConfigError, match="ML_CA_FILE"):
        client_context(tmp_path / "ca.crt")


def test_without_settings_ray_is_told_nothing() -> None:
    assert ray_variables(settings()) == {}


def test_a_token_file_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "token"
    asked = settings(ML_RAY_TOKEN_FILE=str(path))
    assert ray_variables(asked) == {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}
    token = path.read_text()
    assert len(token) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ray_variables(asked)
    assert path.read_text() == token
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"Ray token file .* is open to others"):
        ray_variables(asked)


def test_ray_gets_its_certificates_or_an_error_by_name(folder: Path, tmp_path: Path) -> None:
    assert ray_variables(settings(ML_RAY_TLS_DIR=str(folder))) == {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": str(folder / "tls.crt"),
        "RAY_TLS_SERVER_KEY": str(folder / "tls.key"),
        "RAY_TLS_CA_CERT": str(folder / "ca.crt"),
    }
    with pytest.raises(ConfigError, match=r"got no tls\.crt"):
        ray_variables(settings(ML_RAY_TLS_DIR=str(tmp_path)))


def test_a_path_cannot_write_into_the_configuration() -> None:
    for path in ("/a b/tls.crt", "/a\nbind/tls.crt", '/a"/tls.crt'):
        with pytest.raises(ConfigError, match="without spaces"):
            front_config(host="127.0.0.1", port=1, target="127.0.0.1:2", certificate=Path(path), timeout_s=1)
