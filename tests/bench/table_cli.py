"""What the scripts that print tables have in common: words of the command line, a share of the runs, Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

__all__ = ["finished_parser", "markdown", "parse_table", "part_of", "split_words", "table_parser"]

T = TypeVar("T")


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the words before `--`, and those behind it, none where there is no `--`."""
    cut = words.index("--") if "--" in words else len(words)
    return list(words[:cut]), list(words[cut + 1 :])


def finished_parser(doc: str | None, keeps: str) -> argparse.ArgumentParser:
    """Returns a parser of FOLDER, --part and --print.

    Args:
        doc: The script's docstring.
        keeps: What FOLDER keeps.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help=f"keeps {keeps}")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="every N-th run from the I-th on")
    parser.add_argument("--print", action="store_true", help="print what is there, run nothing")
    return parser


def table_parser(doc: str | None) -> argparse.ArgumentParser:
    """Returns a parser of FOLDER, MODEL..., --data, --eval-data, --seeds, --part and --print."""
    parser = finished_parser(doc, "finished runs")
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--data", type=Path, help="training data, .npz with `labels`")
    parser.add_argument("--eval-data", type=Path, help="test data with `labels`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    return parser


def parse_table(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Returns what a `table_parser` reads; `options` are the words behind `--`."""
    known, further = split_words(words)
    options = parser.parse_args(known)
    options.options = further
    if not options.print and not (options.models and options.data and options.eval_data):
        parser.error("give models, --data and --eval-data, or --print")
    return options


def part_of(runs: Sequence[T], part: str) -> Sequence[T]:
    """Returns every n-th run from the i-th on, for the part "i/n"; none for "0/n"."""
    index, count = (int(word) for word in part.split("/"))
    return runs[index - 1 :: count] if index else []


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))
