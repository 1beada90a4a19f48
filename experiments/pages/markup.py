"""Pieces of a page. All that is given as text is escaped, what is named content is HTML already."""

import base64
import pathlib
from collections.abc import Sequence
from html import escape


def quiet(text: str) -> str:
  return f'<p class="quiet">{escape(text)}</p>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], css: str = '') -> str:
  head = ''.join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
  body = [
    f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
    for first, *rest in rows
  ]
  content = f'<thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody>'
  return _scroll(f'<table class="{css}">{content}</table>' if css else f'<table>{content}</table>')


def pre(text: str) -> str:
  return _scroll(f'<pre>{escape(text)}</pre>')


def _scroll(content: str) -> str:
  """Wide things scroll by themselves, also by keyboard; the page never does."""
  return f'<div class="scroll" tabindex="0">{content}</div>'


def details(summary: str, content: str) -> str:
  return f'<details><summary>{escape(summary)}</summary>{content}</details>'


def figure(content: str, caption: str) -> str:
  return f'<figure><figcaption>{escape(caption)}</figcaption>{content}</figure>'


def picture(path: pathlib.Path, caption: str) -> str:
  data = base64.b64encode(path.read_bytes()).decode()
  return figure(f'<img src="data:image/png;base64,{data}" alt="{escape(caption)}">', caption)


def number(value: object) -> str:
  if isinstance(value, bool) or not isinstance(value, int | float):
    return str(value)
  return f'{value:,}' if isinstance(value, int) else f'{value:.4g}'
