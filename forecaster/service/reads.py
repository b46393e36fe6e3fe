"""Which columns of the window a forecast reads, so that a start waits for no others."""

from forecaster.config import ForecasterConfig
from forecaster.models.features import MOTION_SHARE


def reads(config: ForecasterConfig) -> tuple[tuple[float, float, float | None], ...]:
    """What a forecast reads of the window: (s before now of the newest column; s between columns; s up to the oldest,
    None for the whole span).

    The warm-up counts every column. The encoder reads one a step, and for motions another one MOTION_SHARE of a step
    before each, where a refresh is there. With a refresh of 15 s a start reads a fifth of the history before its first
    forecast, which is the same as with all of it where these columns have values. Where one has none, the encoder takes
    an older value of the step, which it has once later cycles have read it. With `up`, values hold from scrape
    to scrape, which only readings of every refresh show.
    """
    if config.source.up is not None:
        return ((0.0, config.refresh, None),)
    back, warmup = MOTION_SHARE * config.step, config.warmup.samples * config.warmup.sample_interval
    whole = round(back * 1000) % round(config.refresh * 1000) == 0
    return (0.0, config.refresh, warmup), (0.0, config.step, None), *([(back, config.step, None)] if whole else [])
