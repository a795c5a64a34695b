# noqa: INP001 - it is embedded as text, and run by python -c
"""Renders Jinja templates: a request a line on standard input, its answer a line on standard output, both JSON.

A request has "template", its text, and "vars". The answer has "text", or "error" if the template is wrong.
The first line, before any request, is {}: the worker is ready. It ends when standard input does.
"""

import json
import os
import sys
from typing import IO, Any

import jinja2

# Templates are programs, which can do all that this process may. For those of other people there is jinja2.sandbox.
ENVIRONMENT = jinja2.Environment(  # noqa: S701 - they give plain text, not HTML
    undefined=jinja2.StrictUndefined, keep_trailing_newline=True
)


def serve(requests: IO[bytes], answers: IO[str]) -> None:
    """Answer requests until there are no more."""
    print("{}", file=answers, flush=True)
    for line in requests:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def answer(request: dict[str, Any]) -> dict[str, str]:
    """Render one template."""
    try:
        return {"text": ENVIRONMENT.from_string(request["template"]).render(request["vars"])}
    except Exception as error:  # noqa: BLE001 - whatever a template does wrong, the worker lives on
        return {"error": f"{type(error).__name__}: {error}"}


# Answers have standard output for themselves: what a template or a library prints goes to standard error.
with os.fdopen(os.dup(1), "w", encoding="ascii") as stdout:
    os.dup2(2, 1)
    serve(sys.stdin.buffer, stdout)
