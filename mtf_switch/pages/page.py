# Copyright 2026 The mtf_switch Authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""HTML pages of one file: a title, sections, tables, figures and notes.

A page asks for nothing from a network, follows the reader's light or dark
scheme, and can be printed. Whatever is put into it is text and is escaped,
unless it is Markup, which only the functions of this package make.
"""

import base64
from collections.abc import Iterable, Sequence
import functools
import hashlib
import pathlib
import re
from typing import NamedTuple

import markupsafe

Markup = markupsafe.Markup

_PAGE = Markup("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{subtitle}</p>
<nav>{links}</nav>
</header>
<main>
{sections}
</main>
<script>{script}</script>
</body>
</html>
""")
# No script but the page's own runs, even if a text came in without escaping,
# and nothing is fetched.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "script-src 'sha256-{digest}'"
)
_NO_CHARACTER = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
)


class Section(NamedTuple):
  """A part of a page.

  Attributes:
    title: its heading.
    blocks: what stands below, each of one of the functions here or of charts.
  """

  title: str
  blocks: Sequence[Markup]


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
  """Returns a whole page.

  Args:
    title: the title.
    subtitle: one line below it.
    sections: the sections, which the page lists at its top.
  """
  script = _part("page.js")
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  return str(
      _PAGE.format(
          policy=_POLICY.format(digest=digest),
          title=text(title),
          subtitle=text(subtitle),
          style=Markup(_part("page.css")),
          script=Markup(script),
          links=joined(
              Markup('<a href="#{}">{}</a>').format(_anchor(x), text(x.title))
              for x in sections
          ),
          sections=joined(
              Markup('<section id="{}"><h2>{}</h2>\n{}</section>').format(
                  _anchor(x), text(x.title), joined(x.blocks)
              )
              for x in sections
          ),
      )
  )


@functools.cache
def _part(name: str) -> str:
  """A file that every page has in it."""
  return pathlib.Path(__file__).with_name(name).read_text()


def _anchor(section: Section) -> str:
  return re.sub(r"\W+", "-", section.title.lower()).strip("-")


def text(content: str) -> str:
  """Returns a text without characters that HTML has no place for."""
  return _NO_CHARACTER.sub("\ufffd", content)


def joined(blocks: Iterable[Markup]) -> Markup:
  """Returns blocks one after the other."""
  return Markup("\n").join(blocks)


def paragraph(content: str) -> Markup:
  """Returns a paragraph."""
  return Markup("<p>{}</p>").format(text(content))


def note(content: str) -> Markup:
  """Returns a paragraph that asks for attention."""
  return Markup('<p class="note">{}</p>').format(text(content))


def heading(content: str) -> Markup:
  """Returns a heading within a section."""
  return Markup("<h3>{}</h3>").format(text(content))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], num_left: int = 1
) -> Markup:
  """Returns a table, which scrolls by itself where it is wider than the page.

  Args:
    columns: the columns' names.
    rows: a text for each column.
    num_left: how many columns are aligned on the left; the others have numbers.
  """

  def cells(tag, row):
    return Markup("").join(
        Markup("<{0}{1}>{2}</{0}>").format(
            Markup(tag),
            Markup("" if number < num_left else ' class="number"'),
            text(cell),
        )
        for number, cell in enumerate(row)
    )

  return Markup(
      '<div class="scrolls" tabindex="0"><table><thead><tr>{}</tr></thead>\n'
      "<tbody>{}</tbody></table></div>"
  ).format(
      cells("th", columns),
      joined(Markup("<tr>{}</tr>").format(cells("td", row)) for row in rows),
  )


def bullets(items: Iterable[str]) -> Markup:
  """Returns a list of texts."""
  return Markup("<ul>{}</ul>").format(
      joined(Markup("<li>{}</li>").format(text(item)) for item in items)
  )


def figure(picture: Markup, caption: str) -> Markup:
  """Returns a picture with a text below.

  Args:
    picture: an <svg>.
    caption: the text.
  """
  return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(
      picture, text(caption)
  )


def side_by_side(blocks: Iterable[Markup]) -> Markup:
  """Returns blocks beside each other, as many as the page is wide."""
  return Markup('<div class="beside">{}</div>').format(joined(blocks))


def folded(summary: str, blocks: Iterable[Markup]) -> Markup:
  """Returns blocks that a reader opens.

  Args:
    summary: what is to be seen before.
    blocks: the blocks.
  """
  return Markup("<details><summary>{}</summary>\n{}</details>").format(
      text(summary), joined(blocks)
  )


def code(content: str) -> Markup:
  """Returns a text of several lines, as it is written."""
  return Markup('<pre class="scrolls" tabindex="0">{}</pre>').format(
      text(content)
  )
