"""The package's own metadata: its addresses, and a README whose links work on an index page.

The address of the repository is in one place: pyproject.toml, `[tool.hatch.metadata.hooks.custom]`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"\[([^\]]*)\]\((?!https?://)([^)\s]+)\)")


class Metadata(MetadataHookInterface):
    """Fills in the readme and the URLs."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set what pyproject.toml calls dynamic."""
        repository = self.config["repository"].rstrip("/")
        readme = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": addressed(readme, repository, f"v{metadata['version']}"),
        }
        metadata["urls"] = {}
        if repository:
            metadata["urls"] = {
                "Documentation": f"{repository}/blob/v{metadata['version']}/docs/guide.md",
                "Changelog": f"{repository}/blob/v{metadata['version']}/CHANGELOG.md",
                "Issues": f"{repository}/issues",
                "Source": repository,
            }


def addressed(readme: str, repository: str, tag: str) -> str:
    """Return a README without links that lead nowhere outside the repository.

    Args:
        readme: the Markdown, with links to files beside it and to its own headings.
        repository: the address of the repository; without one, a link becomes the name of its file.
        tag: the version that the links lead to.
    """

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        if target.startswith("#"):
            return text
        if repository:
            kind = "blob" if "." in Path(target).name or target == "LICENSE" else "tree"
            return f"[{text}]({repository}/{kind}/{tag}/{target})"
        path = target.partition("#")[0]
        return f"`{path}`" if text == path else f"{text} (`{path}`)"

    return _LINK.sub(link, readme)
