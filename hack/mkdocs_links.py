"""What mkdocs does to a page first: links out of docs/ lead to the repository, where its readers there find them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_LINK = re.compile(r"\]\((?P<path>\.\.?/[^)#\s]+)(?P<rest>[^)]*)\)")
_BRANCH = "blob/main"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (mkdocs' signature)
    """The page's text, with links to files outside docs/ as URLs of the repository."""
    docs = Path(config.docs_dir).resolve()
    source = docs / page.file.src_uri

    def led(link: re.Match[str]) -> str:
        target = (source.parent / link["path"]).resolve()
        if target.is_relative_to(docs) or not target.exists():
            return link[0]  # mkdocs' own business: it warns of what is not there
        path = target.relative_to(docs.parent).as_posix()
        return f"]({config.repo_url}/{_BRANCH}/{path}{link['rest']})"

    return _LINK.sub(led, markdown)
