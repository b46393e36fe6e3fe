"""Makes the parts that a configuration asks for: source, memory, model, chances, and where results go."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import requests

from forecaster.addresses import Receiver, SourceConfig
from forecaster.board import Board
from forecaster.config import ForecasterConfig
from forecaster.memory.outcomes import Outcomes
from forecaster.memory.pages import Pages
from forecaster.memory.past import Past
from forecaster.memory.record import Record
from forecaster.memory.scraped import ScrapeSource
from forecaster.memory.window import Window
from forecaster.models.artifact import ModelError, check, folder_of
from forecaster.models.model import Model
from forecaster.publish.alertmanager import Alertmanager, address_of
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.firing import Firing
from forecaster.publish.push import Push
from forecaster.publish.result import Result
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.readings import Source
from forecaster.risk.chances import FILE, WINDOWS, ChanceError, Chances
from forecaster.risk.score import COMPONENTS
from forecaster.risk.thresholds import RiskConfig
from forecaster.service.capacity import make_watch
from forecaster.service.cycle import Cycle
from forecaster.service.parts import Parts
from forecaster.sources.gate import NAME, Gate
from forecaster.sources.prometheus import PrometheusSource
from forecaster.sources.transport import http_session
from forecaster.sources.up import RATE_SCRAPES, Up, render

log = logging.getLogger(__name__)


def assemble(config: ForecasterConfig, metrics: SelfMetrics, clock: Callable[[], float], scheme: str = "http",
             loaded: Model | None = None) -> Parts:
    """The parts that the configuration asks for, not started; without a model that can be used, the heuristic's. The
    model `loaded` is used again if it is the configured one.

    scheme: http or https, as the forecaster is served.
    """
    model, chances, problem, without = None, None, None, None
    with ExitStack() as opened:
        try:
            model = load_model(config, loaded)
            if model is not None and model is not loaded:
                opened.callback(model.close)
            chances, without = load_chances(config, model) if model is not None else (None, None)
        except ModelError as error:
            log.error("no model: %s; the trend heuristic forecasts every server", error)
            opened.close()
            model, problem = None, str(error)
        parts = _assembled(config, metrics, clock, scheme, model, chances, problem, without)
        opened.pop_all()  # the model is the parts' now
    return parts


def _assembled(config: ForecasterConfig, metrics: SelfMetrics, clock: Callable[[], float], scheme: str,
               model: Model | None, chances: Chances | None, problem: str | None, without: str | None) -> Parts:
    """The parts around a model; problem, without: why there is no model, and why there are no chances."""
    log_deprecated(config.risk)
    origin, signals, live = fingerprint(config), tuple(config.signals), config.live
    window = Window(signals, config.refresh, config.step, config.encoder_steps,
                    sample_interval=config.warmup.sample_interval, origin=origin, most=config.limits.servers,
                    idle=config.stale_after)
    past = record = None
    if model is not None and model.context_steps > config.encoder_steps:
        past = Past(signals, config.step, config.refresh, model.context_steps, origin, config.limits.servers)
    if model is not None and live.enabled:
        record = Record(signals, config.horizons, config.step, live.window, live.minimum, live.max_widening,
                        f"{origin} {model.info['weights']}", live.correction)
    outcomes = pages = None
    if live.enabled:
        conditions = config.risk.conditions(signals)
        identity = f"{origin} {model and model.info['weights']} {conditions}"
        pages = Pages(config.step, f"{identity} {config.risk.priorities}", tuple(conditions), config.capacity.refresh)
        if chances is not None:
            outcomes = Outcomes(tuple(conditions), WINDOWS, config.step, identity)
    board, source = Board[Result](config.forecast_ttl), make_source(config, clock)
    described = {name: (signal.title or name, signal.unit) for name, signal in config.signals.items()}
    scored = [getattr(config.risk.roles, name) for name in COMPONENTS] if config.publish.gauges == "essential" else None
    collector = ForecastCollector(board, config.horizons, config.windows, described, clock, scored)
    capacity = make_watch(config, metrics, clock, lambda: make_session(config.source, config.source.retries))
    cycle = Cycle(config, source, window, model, board, collector, metrics, clock, past, record, make_push(config),
                  chances, make_alertmanager(config, clock, scheme), capacity.board if capacity is not None else None,
                  outcomes, pages)
    info = model.info if model else {"model": "none" if config.model is None else config.model}
    shown = {**info, "method": "tft" if model else "heuristic", "configured": config.model,
             "loaded": model is not None, "problem": problem,
             "chances_problem": without}
    joint = {name: of for name, of in (chances.joint if chances else {}).items() if name in config.risk.incident}
    return Parts(config, source, cycle, board, collector, shown, capacity, model, joint, make_firing(config, clock))


def make_source(config: ForecasterConfig, clock: Callable[[], float]) -> Source:
    """The configured source; not started."""
    given = config.source
    common: dict[str, Any] = {
        "server_label": given.server_label, "profile_label": given.profile_label, "shard": config.share,
        "default_profile": given.default_profile, "timeout": given.timeout, "clock": clock,
        "limits": config.limits,
    }
    if given.kind == "prometheus":
        common["shares"] = len(config.signals) + (2 if given.up else 0)

        def ask(signals: Mapping[str, Any], step: float = config.step) -> PrometheusSource:
            return PrometheusSource(str(given.url), signals, step, session=make_session(given, given.retries),
                                    parameters=given.parameters, **common)

        if given.up is None:
            return ask(config.signals, max(config.step, RATE_SCRAPES * given.scrape_interval))
        up = Up(config.share.fill(render(given.up, config.step)), given.server_label, config.step)
        scraped, scrapes = (ask({NAME: SimpleNamespace(query=query)}) for query in (up.scraped, up.scrapes))
        return Gate(ask(config.signals), scraped, scrapes, up, config.step, clock)
    return ScrapeSource(given.targets, config.signals, config.step, session=make_session(given, 0),
                        scrape_interval=given.scrape_interval, idle=config.stale_after, **common)


def make_push(config: ForecasterConfig) -> Push | None:
    """The VictoriaMetrics that curves are written to, None without one."""
    given = config.push
    return Push(given.url, make_session(given, 1), given.timeout) if given.url is not None else None


def make_alertmanager(config: ForecasterConfig, clock: Callable[[], float], scheme: str = "http",
                      ) -> Alertmanager | None:
    """The Alertmanager that is told when Prometheus is down, None without one or without Prometheus."""
    given = config.alertmanager
    if given.url is None or config.source.kind != "prometheus":
        return None
    return Alertmanager(given.url, make_session(given, 0), given.timeout, str(config.source.url), config.listen,
                        given.fleet, given.after, given.end_after, config.refresh, clock, scheme=scheme)


def make_firing(config: ForecasterConfig, clock: Callable[[], float]) -> Firing | None:
    """Asks for the fleet's alerts, for a page; None without an Alertmanager."""
    given = config.alertmanager
    if given.url is None:
        return None
    fleet = given.fleet or address_of(config.listen)
    return Firing(given.url, fleet, make_session(given, 0), given.timeout, config.refresh, clock)


def make_session(given: SourceConfig | Receiver, retries: int) -> requests.Session:
    """Connections with the login, headers and TLS of a source or receiver. Prometheus is asked for answers that are
    not compressed, unless the headers say so: to compress history would take it as long as to read it."""
    plain = {"Accept-Encoding": "identity"} if isinstance(given, SourceConfig) and given.kind == "prometheus" else {}
    login = (given.basic_auth.username, given.basic_auth.password_file) if given.basic_auth else None
    return http_session(retries, headers=plain | given.headers, bearer_token_file=given.bearer_token_file,
                        basic_auth=login, ca_file=given.ca_file,
                        certificate=(given.cert_file, given.key_file) if given.cert_file and given.key_file else None)


def load_model(config: ForecasterConfig, loaded: Model | None = None) -> Model | None:
    """The configured model, None for the heuristic; ModelError where it does not fit the configuration."""
    if config.model is None:
        return None
    folder = folder_of(config.model)
    model = Model.load(folder, config.device, config.timezone, config.signals, loaded)
    for difference in check(folder, model.encoding, config.signals, config.step, config.encoder_steps):
        log.info(difference)
    return model


def load_chances(config: ForecasterConfig, model: Model) -> tuple[Chances | None, str | None]:
    """(the chances of incidents trained beside the model, None), or (None, why there are none and what to do);
    ModelError where `risk.method` needs them."""
    folder = folder_of(str(config.model))
    problem = f"{folder} has no {FILE}: run fleet-forecaster calibrate --model {folder}"
    if (folder / FILE).exists():
        try:
            return Chances.load(folder, model.facts["weights_sha256"]), None
        except ChanceError as error:  # forecasts do not need it
            problem = str(error)
    if config.risk.method == "calibrated":
        raise ModelError(f"risk.method is calibrated, but there are no chances of incidents: {problem}; or set "
                         "risk.method: weighted")
    log.warning("no chances of incidents, only those that are on are shown: %s", problem)
    return None, problem


def log_deprecated(risk: RiskConfig) -> None:
    """Says what replaces the settings of the last release."""
    if "severe" in risk.model_fields_set and risk.incidents is not None:
        log.warning("risk.severe is not used beside risk.incidents: remove it")
    elif "severe" in risk.model_fields_set:
        log.warning("risk.severe is deprecated and goes with the next release: name incidents in risk.incidents")
    if "method" in risk.model_fields_set:
        log.warning("risk.method is deprecated and goes with the next release: chances of incidents are always shown, "
                    "and risk.priorities.by: chance makes priorities of them")


def fingerprint(config: ForecasterConfig) -> str:
    """A hash of where values come from: values of another source, query or shard must not mix with these."""
    source = config.source
    origin: list[object] = [source.kind, source.url, source.targets, source.server_label, source.profile_label]
    queries = [(name, signal.query, signal.metric, signal.scale) for name, signal in config.signals.items()]
    if config.total_shards > 1:  # the servers of another shard are not this one's
        origin.append(config.share)
    return hashlib.sha256(repr((origin, queries)).encode()).hexdigest()[:16]
