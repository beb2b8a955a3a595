"""What ``--help`` says of each command, as a page: ``.. command-options::`` renders the parsers of `fastrbm`.

Texts are no reStructuredText: underscores stay, and options and quoted values are code, whose dashes nothing joins.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_CODE = re.compile(r"""(?<![\w-])(--?[a-zA-Z][\w-]*(?: "[^"]*")?|"[^"]*"|'[^']*')""")


def _text(text: str) -> nodes.paragraph:
    parts = _CODE.split(text)
    found = [nodes.literal(part, part) if at % 2 else nodes.Text(part) for at, part in enumerate(parts) if part]
    return nodes.paragraph("", "", *found)


def _term(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    value = ""
    if action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction):
        value = str(
            action.metavar or action.choices and "{" + ",".join(map(str, action.choices)) + "}" or action.dest.upper()
        )
        value = f" [{value}]" if action.nargs == "?" else f" {value}"
    return ", ".join(action.option_strings) + value


def _options(parser: argparse.ArgumentParser) -> Iterator[nodes.Node]:
    """Paragraphs and lists of the options of a parser, a group after another."""
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help is not argparse.SUPPRESS
            and not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
        ]
        if not actions:
            continue
        yield nodes.rubric("", group.title or "")
        listed = nodes.definition_list()
        for action in actions:
            term = _term(action)
            meaning = formatter._expand_help(action) if action.help else ""
            listed += nodes.definition_list_item(
                "", nodes.term("", "", nodes.literal(term, term)), nodes.definition("", _text(meaning))
            )
        yield listed


class CommandOptions(SphinxDirective):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        """Render the parsers."""
        from fastrbm.benchmarks.run import parser as bench

        from fastrbm._cli.main import COMMANDS, make_parser

        main = make_parser()
        choices: Any = next(
            action.choices for action in main._actions if isinstance(action, argparse._SubParsersAction)
        )
        made: list[nodes.Node] = []
        for name in COMMANDS:
            own = bench() if name == "bench" else choices[name]
            section = nodes.section(ids=[nodes.make_id(f"fastrbm {name}")], names=[f"fastrbm {name}"])
            title = f"fastrbm {name}"
            section += nodes.title("", "", nodes.literal(title, title))
            section += _text(" ".join(own.description.split()))
            section += list(_options(own))
            self.state.document.note_implicit_target(section, section)
            made.append(section)
        return made


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("command-options", CommandOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
