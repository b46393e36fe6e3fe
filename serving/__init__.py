"""What both services share: settings, web pages, serving and metric exposition.

In: a settings file and command line flags, a Service, arrays of metric values. Out: validated settings, a Flask
application that is served, Prometheus' text format.

    settings     YAML files to frozen, validated settings
    yaml_bounds  what such a file may take
    shown        text from outside, as logs and terminals show it
    service      a service: its status, readiness, reload and close
    html         the look of every page for people
    refusals     the error of a refused request
    web          landing page, health, readiness, reload and JSON errors
    runner       one process: listen address, signals, shutdown
    options      the flags of a command that serves
    http         requests and answers, on an event loop
    connections  deadlines and bounds of connections
    lanes        the threads that answer, by path
    wsgi         a request and an answer as the application sees them
    origin       names of the service, changes by web pages, headers for browsers
    access       the access log
    doors        TLS, logins, scopes and the audit log
    web_config   the file of TLS, headers and users
    logins       users with passwords, tokens of machines
    reread       files that are read anew when they change
    audit        the lines of the audit log
    storage      a service's folder on disk: one writer, whole files, damaged ones put aside
    exposition   gauge families from arrays, and the answer to a scrape

ServingError
  SettingsError (ValueError)   invalid settings; serving.settings
  ListenError                  an invalid or unavailable listen address; serving.runner
  StorageError                 a folder that another process uses; serving.storage
  RequestError                 a request that gets a 4xx answer; serving.refusals
"""

__version__ = "0.1.0"


class ServingError(Exception):
    """Base of the errors of this package. The message is for the user."""
