"""Turns a notebook into a page that needs nothing else: formulas are MathML, pictures inside it."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, Final

import jupytext
from jinja2 import DictLoader
from latex2mathml.converter import convert
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

_TEMPLATE: Final = """
{%- extends "lab/index.html.j2" -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
  main { max-width: 62rem; margin: 0 auto; padding: 1rem; }
  math { font-size: 1.1em; }
  math[display="block"] { margin: 0.8em 0; }
  .jp-InputPrompt, .jp-OutputPrompt { display: none; }
  .jp-RenderedHTMLCommon table { margin-left: 0; table-layout: auto; }
  .jp-RenderedHTMLCommon :is(td, th) { text-align: left; vertical-align: top; white-space: normal; }
  .jp-RenderedHTMLCommon td:first-child { white-space: nowrap; }
</style>
{%- endblock -%}
"""
"""JupyterLab's page without its scripts, which come from the network."""


class _Renderer(IPythonRenderer):
    """Markdown whose formulas are MathML."""

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return _mathml(body, "block")


def page(path: Path) -> str:
    """The page of a notebook, which is run for it.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails, an assertion for instance.
    """
    notebook = jupytext.read(path, fmt="py:percent")
    NotebookClient(
        notebook,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        # it warns that its connection is not encrypted, which stays on this machine
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    ).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            _set_formulas(output.get("data", {}))
    notebook.metadata["title"] = _title(notebook)
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"page.html.j2": _TEMPLATE})],
        template_file="page.html.j2",
        filters={"markdown2html": _markdown},
    )
    body, _ = exporter.from_notebook_node(notebook)
    return str(body)


def _markdown(source: str) -> str:
    return MarkdownWithMath(renderer=_Renderer(escape=False)).render(source)


def _mathml(latex: str, display: str) -> str:
    """A formula, with bars as tall as what they enclose and no space around a slash."""
    for bar in ("vert", "Vert"):
        shown = "|" if bar == "vert" else r"\|"
        latex = latex.replace(rf"\l{bar}", rf"\left{shown}").replace(rf"\r{bar}", rf"\right{shown}")
    slash = "<mo>&#x0002F;</mo>"
    return str(convert(latex, display=display)).replace(
        slash, slash.replace("<mo>", '<mo lspace="0" rspace="0">')
    )


def _set_formulas(data: dict[str, Any]) -> None:
    """What SymPy shows as LaTeX, as MathML."""
    latex = data.pop("text/latex", None)
    if latex is not None:
        data["text/html"] = _mathml(latex.strip().strip("$"), "block")


def _title(notebook: Any) -> str:
    first = next(line for line in notebook.cells[0].source.splitlines() if line.startswith("# "))
    return html.escape(first.removeprefix("# "))
