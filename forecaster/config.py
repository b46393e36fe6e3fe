"""The forecaster's configuration: source, signals, intervals and risk thresholds in one frozen, valid object.

A problem raises serving.settings.SettingsError; its message names file, key, value and remedy. A rule about two keys is
checked at the later one, and the message names that key.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from forecaster.addresses import AlertmanagerConfig, ListenAddress, NonEmpty, PushConfig, SourceConfig
from forecaster.capacity.settings import CapacityConfig
from forecaster.limits import Limits
from forecaster.risk.thresholds import RiskConfig
from forecaster.signals import HORIZON_STEPS, STEP_MINUTES, Signal, StepsByLabel
from forecaster.sources.shard import Shard, ordinal
from forecaster.tenants import Tenants
from serving.page.links import Links
from serving.settings import Duration, Settings, SettingsError, load

MODEL_STEP = 60.0 * STEP_MINUTES  # s, the step the model was trained on
PRESETS = Path(__file__).with_name("presets")

_HORIZONS: Any = ("5m", "30m", "1h", "4h", "8h")  # validation turns names into steps
_WINDOWS: Any = ("30m", "8h")
# names a signal cannot have: forecast_<signal> would be one of the forecaster's own families
_TAKEN = re.compile(r"risk_(score|points)|priority|state|method|severe_probability|server_(stale|unforecast)"
                    r"|missing_signals|last_seen_timestamp_seconds|maintenance|(fleet|warmup|live|incident|capacity)_.*")


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except Exception as error:  # zoneinfo raises KeyError, ValueError or OSError, depending on the name
        raise ValueError("expected a time zone name such as UTC or Europe/Berlin") from error
    return name


Timezone = Annotated[str, AfterValidator(_known_timezone)]
Ordinal = Annotated[int, BeforeValidator(ordinal)]


class Warmup(Settings):
    """Samples a server needs before the model forecasts it; the trend heuristic does until then."""

    samples: int = Field(150, ge=1, description="samples from which on the model forecasts a server")
    sample_interval: Duration = Field(5.0, description="time one sample stands for")


class Publish(Settings):
    """What is shown of a server, and limits of one answer, so that no request exhausts the process."""

    gauges: Literal["essential", "all"] = Field("essential", description="series of a server on /metrics: those that "
                                                "alerts and dashboards use, at most 60 with 8 signals, or all")
    max_curve_samples: int = Field(1_000_000, ge=HORIZON_STEPS, description="most samples one remote read may ask for")


class Live(Settings):
    """The record: past forecasts compared with their outcomes."""

    enabled: bool = Field(True, description="score past forecasts and show the figures")
    window: Duration = Field(86400.0, description="time the figures look back")
    minimum: int = Field(500, ge=1, description="outcomes from which on figures are shown and used")
    correction: bool = Field(True, description="widen bands that proved too narrow")
    max_widening: float = Field(3.0, ge=1, description="largest factor on a half-band")


class ForecasterConfig(Settings):
    """The whole configuration. Durations in seconds ("5m" in the file); paths relative to the working directory."""

    base: str | None = Field(None, description="preset that this file changes, such as `node_exporter`: mappings key "
                             "by key, all else as a whole; null in place of a mapping removes it")
    listen: ListenAddress = Field("127.0.0.1:8000", description="address to serve on")
    source: SourceConfig = SourceConfig()
    shard: Ordinal = Field(0, ge=0, description="which share of the fleet to forecast; "
                           "a pod's name such as `forecaster-3` counts as 3")
    total_shards: int = Field(1, ge=1, description="shares the fleet is divided into")
    step: Duration = Field(MODEL_STEP, description="time between two steps, at most 5m")
    refresh: Duration = Field(15.0, description="time between two forecasts; divides `step`")
    encoder_steps: int = Field(24, ge=2, le=HORIZON_STEPS, description="steps of history a forecast reads")
    warmup: Warmup = Warmup()
    forecast_ttl: Duration = Field(120.0, description="age at which forecasts are withheld")
    stale_after: Duration = Field(1800.0, description="silence after which a server is stale")
    drop_after: Duration = Field(86400.0, description="silence after which a server is forgotten")
    timezone: Timezone = Field("UTC", description="clock of hours and weekdays")
    model: NonEmpty | None = Field("default", description="artifact folder, a model that ships "
                                    "(`default`, `servers`), or null for the heuristic")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs; auto: CUDA if available")
    storage: Path | None = Field(None, description="folder for snapshots of the window")
    horizons: StepsByLabel = Field(_HORIZONS, description="horizons of the gauges and of the record, "
                                  "multiples of 5m up to 8h")
    windows: StepsByLabel = Field(_WINDOWS, description="windows whose largest value is shown as a gauge")
    signals: dict[str, Signal] = Field(min_length=1, description="name: query, unit, bounds")
    risk: RiskConfig = Field(default_factory=RiskConfig, description="thresholds of points, priorities, incidents")
    capacity: CapacityConfig = CapacityConfig()
    limits: Limits = Limits()
    live: Live = Live()
    publish: Publish = Publish()
    push: PushConfig = PushConfig()
    alertmanager: AlertmanagerConfig = AlertmanagerConfig()
    tenants: Tenants = Tenants()
    links: Links = Field(default_factory=dict, description="title: address of what stands beside it, at the foot of "
                         "its pages, at most 12; tenants do not see them")

    @field_validator("total_shards")
    @classmethod
    def _shard_is_below_total(cls, total: int, info: ValidationInfo) -> int:
        given = info.data.get("shard")
        if given is not None and given >= total:
            raise ValueError(f"shard is {given}, and shards are counted from 0; expected more than {given}: "
                             "raise total_shards or lower shard")
        return total

    @model_validator(mode="before")
    @classmethod
    def _job_is_filled_in(cls, given: Any) -> Any:
        source = given.get("source") if isinstance(given, dict) else None
        job = source.get("job") if isinstance(source, dict) else None
        return _with_job(given, job) if isinstance(job, str) else given

    @field_validator("base")
    @classmethod
    def _base_is_a_preset(cls, base: str | None) -> str | None:
        if base is not None and base not in _presets():
            raise ValueError(f"expected one of {', '.join(_presets())}: check the spelling")
        return base

    @property
    def share(self) -> Shard:
        """The part of the fleet that this forecaster forecasts."""
        return Shard(self.shard, self.total_shards)

    @field_validator("step")
    @classmethod
    def _step_is_the_models(cls, step: float) -> float:
        if step > MODEL_STEP:
            raise ValueError("expected at most 5m, the step of the model and of the horizons' names: "
                             "use 5m, or less to run in fast motion")
        return step

    @field_validator("refresh")
    @classmethod
    def _refresh_divides_step(cls, refresh: float, info: ValidationInfo) -> float:
        step = info.data.get("step")
        if step is not None and (refresh > step or abs(step / refresh - round(step / refresh)) > 1e-9):
            raise ValueError(f"expected a divisor of step ({step:g}s) such as {step / 20:g}s: change refresh or step")
        return refresh

    @field_validator("warmup")
    @classmethod
    def _warmup_fits_encoder(cls, warmup: Warmup, info: ValidationInfo) -> Warmup:
        span = info.data.get("encoder_steps", 0) * info.data.get("step", 0)
        needed = warmup.samples * warmup.sample_interval
        if span and needed > span:
            raise ValueError(f"{warmup.samples} samples of {warmup.sample_interval:g}s are {needed:g}s; "
                             f"expected at most the {span:g}s the encoder reads: lower samples")
        return warmup

    @field_validator("forecast_ttl", "stale_after")
    @classmethod
    def _spans_two_refreshes(cls, age: float, info: ValidationInfo) -> float:
        refresh = info.data.get("refresh")
        if refresh is not None and age < 2 * refresh:
            raise ValueError(f"expected at least two refreshes ({2 * refresh:g}s), which one late cycle cannot exceed: "
                             f"raise {info.field_name} or lower refresh")
        return age

    @field_validator("drop_after")
    @classmethod
    def _dropped_after_stale(cls, drop_after: float, info: ValidationInfo) -> float:
        stale_after = info.data.get("stale_after")
        if stale_after is not None and drop_after <= stale_after:
            raise ValueError(f"expected more than stale_after ({stale_after:g}s): raise drop_after")
        return drop_after

    @field_validator("model", mode="before")
    @classmethod
    def _none_means_null(cls, model: Any) -> Any:
        return None if model == "none" else model  # a command-line flag cannot hold null

    @field_validator("signals")
    @classmethod
    def _signals_are_usable(cls, signals: dict[str, Signal], info: ValidationInfo) -> dict[str, Signal]:
        source = info.data.get("source")
        for name, signal in signals.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or _TAKEN.fullmatch(name):
                raise ValueError(f"name {name!r} cannot follow forecast_ in a metric name; expected lower case letters "
                                 "with digits and _, and no name the forecaster uses: rename the signal")
            if name.endswith("_max") and name.removesuffix("_max") in signals:
                raise ValueError(f"forecast_{name} would name two series, this signal and the largest value of "
                                 f"{name.removesuffix('_max')}: rename the signal")
            if source and source.kind == "scrape" and signal.metric is None:
                raise ValueError(f"{name}.metric is missing; source.kind scrape reads metrics and runs no queries: "
                                 f"add {name}.metric or set source.kind: prometheus")
        return signals

    @field_validator("risk")
    @classmethod
    def _risk_uses_forecast_signals(cls, risk: RiskConfig, info: ValidationInfo) -> RiskConfig:
        signals, windows = info.data.get("signals") or {}, info.data.get("windows") or {}
        if signals:
            risk.check(signals)
        if risk.method == "calibrated" and info.data.get("model", "default") is None:
            raise ValueError("method is calibrated, but model is null and the heuristic has no calibration; "
                             "expected a calibrated model: set model, or method: weighted")
        for window in risk.incident if windows else ():
            if window not in windows:
                raise ValueError(f"incident.{window} is not one of windows ({', '.join(windows)}): "
                                 "add it to windows or remove it")
        return risk


def _with_job(given: Any, job: str) -> Any:
    """`given`, with `job` in place of `$job` in every text."""
    if isinstance(given, dict):
        return {key: _with_job(value, job) for key, value in given.items()}
    if isinstance(given, list):
        return [_with_job(value, job) for value in given]
    return re.sub(r"\$job\b", lambda _: job, given) if isinstance(given, str) else given


def _presets() -> dict[str, Path]:
    """The files of the presets, by name."""
    return {file.stem: file for file in sorted(PRESETS.glob("*.yml"))}


def load_config(name_or_path: str | Path, overrides: dict[str, Any] | None = None) -> ForecasterConfig:
    """The configuration of a preset, such as "node_exporter", or of a YAML file; SettingsError otherwise.

    `overrides` maps dotted keys such as "source.url" to values that win over the file; None is ignored.
    """
    presets, path = _presets(), Path(name_or_path)
    if str(name_or_path) in presets:
        path = presets[str(name_or_path)]
    elif not path.exists() and not path.suffix and path.name == str(name_or_path):
        raise SettingsError(f"{name_or_path}: there is no such preset or file; expected one of {', '.join(presets)}, "
                            "or the path of a YAML file: check the spelling")
    return load(ForecasterConfig, path, overrides, presets)
