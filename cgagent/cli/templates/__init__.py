"""Go's text/template, as far as docker's ``--format`` has a use for it.

Actions are compiled to closures: `lexing` cuts a text into words, and `compiling` makes `nodes` of
them, which have `values`; `functions` are what a pipeline may call, `printing` writes as Go's fmt
does. There is no ``define``, ``block`` and ``template``: a format is one template.
(https://pkg.go.dev/text/template)
"""

from cgagent.cli.templates.compiling import Template
from cgagent.cli.templates.lexing import TemplateError

__all__ = ["Template", "TemplateError"]
