"""Configuration of the documentation's site; `make docs` builds it into `site/`."""

import sys
import tomllib
from pathlib import Path

from langchain_minitoolai import __version__

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = PROJECT["name"]
author = PROJECT["authors"][0]["name"]
project_copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_markdown_builder",
    "_extension",
]
nitpicky = True
# Names of other projects: their inventories would have to be fetched at each build.
nitpick_ignore_regex = [(r"py:.*", r"(?!langchain_minitoolai\b).*")]
default_role = "py:obj"  # what a docstring has in backticks is a link where it names something here
smartquotes = False

myst_heading_anchors = 4
nb_execution_mode = "off"  # the tests run the notebooks

autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_exclude = ".linenos, .gp"

html_theme = "furo"
html_title = PROJECT["name"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "source_repository": PROJECT["urls"]["Homepage"],
    "source_branch": "main",
    "source_directory": "docs/",
}

# --- Settings of `_extension.py` --------------------------------------------------

source_url = f"{PROJECT['urls']['Homepage']}/blob/main"
summary = PROJECT["description"]
navigation = {
    "First steps": ["getting-started", "concepts", "migrating", "troubleshooting"],
    "Guides": [
        "chat",
        "tools-and-agents",
        "images",
        "middleware",
        "scaling",
        "sandbox",
        "http-clients",
    ],
    "Notebooks": ["notebooks/chat-and-agents", "notebooks/images"],
    "Reference": ["reference/index"],
    "Project": ["changelog", "contributing", "security"],
}
listed = {"index", *(name for names in navigation.values() for name in names)}
pages = sorted(page.stem for page in (ROOT / "docs").glob("*.md"))
navigation["Guides"] += [name for name in pages if name not in listed]
