"""What a configuration asks for: its source, its model, where curves are written to."""

import hashlib
import logging
from collections.abc import Callable

from forecaster.config import MODEL_STEP, ForecasterConfig
from forecaster.memory.scraped import ScrapeSource
from forecaster.models.artifact import ModelError, folder_of
from forecaster.models.model import Model
from forecaster.publish.push import Push
from forecaster.readings import Source
from forecaster.risk.chance import FILE, Calibration, ChanceError
from forecaster.sources.prometheus import PrometheusSource
from forecaster.sources.transport import http_session

log = logging.getLogger(__name__)


def make_source(config: ForecasterConfig, clock: Callable[[], float]) -> Source:
    """The configured source; not started."""
    given = config.source
    auth = (given.basic_auth.username, given.basic_auth.password_file) if given.basic_auth else None
    session = http_session(
        retries=given.retries if given.kind == "prometheus" else 0,
        headers=given.headers,
        bearer_token_file=given.bearer_token_file,
        basic_auth=auth,
        ca_file=given.ca_file,
    )
    labels = {
        "server_label": given.server_label,
        "profile_label": given.profile_label,
        "default_profile": given.default_profile,
        "shard": config.share,
    }
    if given.kind == "prometheus":
        return PrometheusSource(
            given.url, config.signals, config.step, session=session, timeout=given.timeout, clock=clock,
            parameters=given.parameters, **labels,
        )
    return ScrapeSource(
        given.targets,
        config.signals,
        config.step,
        scrape_interval=given.scrape_interval,
        clock=clock,
        session=session,
        timeout=given.timeout,
        **labels,
    )


def make_push(config: ForecasterConfig) -> Push | None:
    """Where curves are written to, None for nowhere."""
    given = config.push
    if given.url is None:
        return None
    auth = (given.basic_auth.username, given.basic_auth.password_file) if given.basic_auth else None
    session = http_session(1, headers=given.headers, bearer_token_file=given.bearer_token_file, basic_auth=auth,
                           ca_file=given.ca_file)
    return Push(given.url, session, given.timeout)


def load_model(config: ForecasterConfig) -> Model | None:
    """The configured model, None for the heuristic by choice; raises ModelError."""
    if config.model is None:
        return None
    folder = folder_of(config.model)
    model = Model.load(folder, config.device)
    missing = [name for name in model.encoding.signals if name not in config.signals]
    if missing:
        raise ModelError(
            f"{folder}: the model was trained on signals this configuration lacks: {', '.join(missing)}; "
            "add them to signals, choose another model, or set model: null"
        )
    if model.encoding.timezone != config.timezone:
        raise ModelError(
            f"{folder}: the model was trained on the clock of {model.encoding.timezone}, timezone is {config.timezone}; "
            "train one with this configuration, or set timezone to the model's"
        )
    if model.encoding.step != config.step and not (model.encoding.step == MODEL_STEP > config.step):  # fast motion
        raise ModelError(
            f"{folder}: the model was trained on steps of {model.encoding.step:g} s, step is {config.step:g} s; "
            "choose another model or set step to the model's"
        )
    if model.encoding.encoder_steps > config.encoder_steps:
        raise ModelError(
            f"{folder}: the model reads {model.encoding.encoder_steps} steps of history, encoder_steps is "
            f"{config.encoder_steps}; raise encoder_steps"
        )
    return model


def load_calibration(config: ForecasterConfig, model: Model) -> Calibration | None:
    """The fitted chances of the configured model, None where it has none; ModelError where `risk.method` needs them."""
    folder, calibration, problem = folder_of(str(config.model)), None, None
    if (folder / FILE).exists():
        try:
            calibration = Calibration.load(folder, model.facts["weights_sha256"])
        except ChanceError as error:  # forecasts do not need it
            problem = str(error)
    if config.risk.method == "calibrated":
        known = calibration.windows if calibration else {}
        if lacking := [window for window in config.risk.incident if window not in known]:
            raise ModelError(
                f"risk.method is calibrated, but there is no calibration for {', '.join(lacking)}: "
                f"{problem or f'run fleet-forecaster calibrate --model {folder}'}; or set risk.method: weighted"
            )
    elif problem:
        log.warning("no calibrated chances of incidents: %s", problem)
    if calibration and calibration.severe != dict(config.risk.severe):
        log.warning(
            "risk.severe is %s, the calibration was made at %s: chances are less sure; run fleet-forecaster calibrate with "
            "this configuration and a copy of the model",
            dict(config.risk.severe),
            calibration.severe,
        )
    return calibration


def fingerprint(config: ForecasterConfig) -> str:
    """Where values come from, in short: values of another source, query or shard must not mix with these."""
    source = config.source
    origin = [source.kind, source.url, source.targets, source.server_label, source.profile_label]
    queries = [(name, signal.query, signal.metric, signal.scale) for name, signal in config.signals.items()]
    if config.total_shards > 1:  # another shard's servers are none of this one's
        origin.append(config.share)
    return hashlib.sha256(repr((origin, queries)).encode()).hexdigest()[:16]
