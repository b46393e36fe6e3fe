"""Settings of what the forecaster talks to: Prometheus or pages to read, VictoriaMetrics, Alertmanager; logins."""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from forecaster.signals import Selector
from serving.settings import Duration, Settings


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an address such as http://127.0.0.1:9090: start it with http:// or https://")
    if parts.username or parts.password:
        raise ValueError("logs and pages show addresses; expected one without a user or password: use basic_auth")
    return url.rstrip("/")


def _listen_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("expected host:port such as 127.0.0.1:8000")
    return address


HttpUrl = Annotated[str, AfterValidator(_http_url)]
ListenAddress = Annotated[str, AfterValidator(_listen_address)]
NonEmpty = Annotated[str, Field(min_length=1)]


class BasicAuth(Settings):
    username: NonEmpty = Field(description="name to log in with")
    password_file: Path = Field(description="file holding the password, read anew for each request")


def _one_way_to_log_in(basic_auth: BasicAuth | None, info: ValidationInfo) -> BasicAuth | None:
    if basic_auth and info.data.get("bearer_token_file"):
        raise ValueError("expected one way to log in: remove basic_auth or bearer_token_file")
    return basic_auth


def _with_its_certificate(key_file: Path | None, info: ValidationInfo) -> Path | None:
    if (key_file is None) != (info.data.get("cert_file") is None):
        raise ValueError("expected cert_file and key_file together: give both or neither")
    return key_file


def _secrets_stay_in_files(headers: dict[str, str]) -> dict[str, str]:
    if any(name.lower() == "authorization" for name in headers):
        raise ValueError("Authorization belongs in a file: use bearer_token_file or basic_auth")
    return headers


class SourceConfig(Settings):
    """Where measurements come from: a Prometheus server, or /metrics pages read directly."""

    kind: Literal["prometheus", "scrape"] = Field("prometheus", description="query Prometheus, or read /metrics pages")
    url: HttpUrl | None = Field("http://127.0.0.1:9090", description="the Prometheus server, for kind prometheus")
    targets: tuple[HttpUrl, ...] = Field((), description="addresses of /metrics pages, for kind scrape")
    timeout: Duration = Field(5.0, description="longest wait for one answer")
    retries: int = Field(2, ge=0, le=10, description="further attempts after a failed one")
    bearer_token_file: Path | None = Field(None, description="file with a bearer token")
    basic_auth: BasicAuth | None = Field(None, description="login; not together with a token")
    headers: dict[str, str] = Field(default_factory=dict, description="further request headers, except Authorization")
    parameters: dict[str, str] = Field(default_factory=dict,
                                       description="further parameters of every query, such as those of Thanos")
    ca_file: Path | None = Field(None, description="certificates trusted in place of the system's")
    cert_file: Path | None = Field(None, description="certificate to log in with in TLS, together with key_file")
    key_file: Path | None = Field(None, description="key of that certificate")
    job: str | None = Field(None, pattern=r'^[^"\\\n]+$', description="job that `$job` stands for in `up` and in every "
                            "query, such as `node-exporter`")
    up: Selector | None = Field(None, description="selector of series that are 1 while a server is scraped, for kind "
                                "prometheus: values count only while the server is up and its newest scrape is recent")
    scrape_interval: Duration = Field(5.0, description="time between two samples of a series, unless `up` tells it; "
                                      "rates are taken over at least 4 of them")
    bootstrap: Path | None = Field(None, description="OpenMetrics file of past samples, for kind scrape")
    server_label: NonEmpty = Field("server", description="label that names the server")
    profile_label: NonEmpty | None = Field("profile", description="label that names the profile")
    default_profile: NonEmpty = Field("generic", description="profile of servers without that label")

    @field_validator("url", "targets")
    @classmethod
    def _address_fits_kind(cls, given: Any, info: ValidationInfo) -> Any:
        kind = info.data.get("kind", "")
        if not given and info.field_name == {"prometheus": "url", "scrape": "targets"}.get(kind):
            raise ValueError(f"kind {kind} needs an address: set source.{info.field_name} or choose the other kind")
        return given

    _one_login = field_validator("basic_auth")(_one_way_to_log_in)
    _secrets = field_validator("headers")(_secrets_stay_in_files)
    _pair = field_validator("key_file")(_with_its_certificate)

    @field_validator("profile_label")
    @classmethod
    def _labels_differ(cls, profile_label: str | None, info: ValidationInfo) -> str | None:
        if profile_label is not None and profile_label == info.data.get("server_label"):
            raise ValueError("expected a label other than server_label: name the profile's label, or null")
        return profile_label


class Receiver(Settings):
    """A system that the forecaster sends to; nothing is sent without a url."""

    url: HttpUrl | None = None
    timeout: Duration = 10.0
    bearer_token_file: Path | None = Field(None, description="file with a bearer token")
    basic_auth: BasicAuth | None = Field(None, description="login; not together with a token")
    headers: dict[str, str] = Field(default_factory=dict, description="further request headers, except Authorization")
    ca_file: Path | None = Field(None, description="certificates trusted in place of the system's")
    cert_file: Path | None = Field(None, description="certificate to log in with in TLS, together with key_file")
    key_file: Path | None = Field(None, description="key of that certificate")

    _one_login = field_validator("basic_auth")(_one_way_to_log_in)
    _secrets = field_validator("headers")(_secrets_stay_in_files)
    _pair = field_validator("key_file")(_with_its_certificate)


class PushConfig(Receiver):
    """A VictoriaMetrics that curves are written to as well: it stores samples that lie in the future."""

    url: HttpUrl | None = Field(None, description="VictoriaMetrics that curves are written to once a step")
    timeout: Duration = Field(10.0, description="longest time curves of one step are written")


class AlertmanagerConfig(Receiver):
    """An Alertmanager that the forecaster tells itself when Prometheus is down, as nobody else can then."""

    url: HttpUrl | None = Field(None, description="Alertmanager to which FleetcastPrometheusDown is sent while "
                                "Prometheus does not answer, for source.kind prometheus")
    timeout: Duration = Field(2.0, description="longest wait for its answer")
    fleet: NonEmpty | None = Field(None, description="label `fleet` of that alert, as on the forecaster's scrapes; "
                                   "null: the address it listens on")
    after: Duration = Field(45.0, description="time that Prometheus must not have answered before the alert begins")
    end_after: Duration = Field(150.0, description="time that it must have answered before the alert ends, longer than "
                                "`for` of the alerts of servers")
