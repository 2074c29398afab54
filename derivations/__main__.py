"""Builds what is made from the notebooks.

python -m derivations html       runs every notebook and writes its page, derivations/<name>.html
python -m derivations register   writes REGISTER.md, the list of all claims
"""

from __future__ import annotations

import argparse
import sys

from derivations._notebook import FOLDER, notebooks
from derivations._register import register


def main(arguments: list[str] | None = None) -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m derivations", description="Builds pages.")
    parser.add_argument("what", choices=["html", "register"])
    parser.add_argument("names", nargs="*", help="notebooks, for html; default: all")
    given = parser.parse_args(arguments)
    if given.what == "register":
        FOLDER.joinpath("REGISTER.md").write_text(register(), "utf-8")
        return
    known = {notebook.name: notebook for notebook in notebooks()}
    for name in given.names or known:
        if name not in known:
            parser.error(f"no notebook is named {name!r}; there are {', '.join(known)}")
        from derivations._page import page

        target = FOLDER / f"{name}.html"
        target.write_text(page(known[name].path), "utf-8")
        sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    main()
