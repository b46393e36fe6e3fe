"""What both services share: settings, web pages, serving and metric exposition.

In: a settings file and command line flags, a Service, arrays of metric values. Out: validated settings, a Flask
application that is served, Prometheus' text format.

    net          HTTP on a socket: connections, requests, threads
    doors        TLS, logins and tokens
    page         pages for people
    settings     YAML files to frozen, validated settings
    yaml_bounds  what such a file may take
    shown        text from outside, as logs and terminals show it
    service      a service: its status, readiness, reload and close
    refusals     the error of a refused request
    web          landing page, health, readiness, reload and JSON errors
    storage      a service's folder on disk: one writer, whole files, damaged ones put aside
    exposition   gauge families from arrays, and the answer to a scrape

ServingError
  SettingsError (ValueError)   invalid settings; serving.settings
  ListenError                  an invalid or unavailable listen address; serving.net.runner
  StorageError                 a folder that another process uses; serving.storage
  RequestError                 a request that gets a 4xx answer; serving.refusals
"""

__version__ = "0.1.0"


class ServingError(Exception):
    """Base of the errors of this package. The message is for the user."""
