"""What both services share: settings, web serving and metric exposition.

ServingError
  SettingsError (ValueError)   settings that cannot be used; serving.settings
  ListenError                  an address that cannot be listened on; serving.runner
  RequestError                 a request that gets a 4xx answer; serving.web
"""

__version__ = "0.1.0"


class ServingError(Exception):
    """Base of every error this package raises for its caller to show."""
