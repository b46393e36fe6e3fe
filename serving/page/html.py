"""The look of every page for people: one style, light and dark, for wide screens and phones; it loads nothing else."""

from flask import Response
from jinja2 import Environment
from markupsafe import Markup

_PAGE = Environment(autoescape=True, trim_blocks=True, keep_trailing_newline=True).from_string(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{% if refresh %}
<meta http-equiv="refresh" content="{{ refresh }}">
{% endif %}
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 100rem; margin: 2rem auto; padding: 0 1rem }
main { overflow-x: auto }
p, ul, pre, nav { max-width: 60rem }
nav { columns: 16rem } nav a { display: block }
table { border-collapse: collapse; margin: 1.5rem 0; width: 100% }
caption { text-align: start; font-weight: 600; padding-bottom: .25rem }
th, td { text-align: start; padding: .3rem .75rem .3rem 0; vertical-align: top;
  border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
thead th { font-weight: 600 } tbody th { font-weight: 400 } tr[id] > th { white-space: nowrap }
td { overflow-wrap: break-word; font-variant-numeric: tabular-nums }
pre { overflow-x: auto; padding: .5rem .75rem; background: color-mix(in srgb, currentColor 8%, transparent) }
code { font-size: .9em; overflow-wrap: anywhere }
tr:target > *, h2:target, h3:target { background: Mark; color: MarkText }
{{ style }}
</style>
</head>
<body>
<main>
{{ body }}
</main>
</body>
</html>
"""
)


def document(title: str, body: Markup, style: str = "", refresh: int | None = None) -> Response:
    """A whole page around `body`.

    style: further rules, trusted as `body` is. refresh: seconds after which a browser reads the page anew.
    """
    text = _PAGE.render(title=title, body=body, style=Markup(style), refresh=refresh)
    response = Response(text, mimetype="text/html")
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    response.headers["Cache-Control"] = "no-store"
    return response
