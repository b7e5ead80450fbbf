"""Sphinx extension of the site: pages of the root, Markdown in docstrings, Markdown output.

Each page is also written as Markdown beside its HTML, and all of them into `llms-full.txt`, with
`llms.txt` as their list. Pages in Markdown are copied as they are; the API reference is rendered.
"""

import inspect
import json
import re
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx_markdown_builder.builder import MarkdownBuilder
from sphinx_markdown_builder.translator import MarkdownTranslator

import langchain_minitoolai

ROOT = Path(__file__).parents[1]
WHOLE_FILES = {
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
}
"""Pages that show a file of the project's root; in `docs/` each is a line that links to it."""

FENCE = re.compile(r"^([ ]*)```(\w+)\n(.*?)^[ ]*```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=[.:;]\n\n)((?:[ ]{4}.*\n|\n)+)")
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s]+)\)")
SKIPPED_MEMBERS = {
    "args_schema",
    "callbacks",
    "extras",
    "is_lc_serializable",
    "lc_secrets",
    "metadata",
    "model_config",
    "model_post_init",
    "return_direct",
    "tags",
    "verbose",
}
"""Inherited means of pydantic and LangChain, which no caller needs."""


# --- Pages ------------------------------------------------------------------------


def adapt_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Show whole files, link what is no page to the repository, add the tables of contents."""
    folder = (ROOT / "docs" / name).parent
    text = source[0]
    if name in WHOLE_FILES:
        text, folder = (ROOT / WHOLE_FILES[name]).read_text(encoding="utf-8"), ROOT
    text = LINK.sub(lambda found: f"]({site_link(app, folder, found[1])})", text)
    suffix = app.env.doc2path(name).suffix
    if suffix in (".md", ".ipynb"):
        markdown_pages(app)[name] = notebook_text(text) if suffix == ".ipynb" else text
    if name == app.config.root_doc:
        text += navigation(app.config.navigation)
    source[0] = text


def site_link(app: Sphinx, folder: Path, link: str) -> str:
    """Point a link of a page to the site's own page, else to the file in the repository."""
    path, hash_, anchor = link.partition("#")
    target = (folder / path).resolve().relative_to(ROOT)
    for page, file in WHOLE_FILES.items():
        if target == Path(file):
            return f"{page}.md{hash_}{anchor}"
    if target.parts[0] != "docs" or target.suffix == ".py" or target == Path("docs"):
        return f"{app.config.source_url}/{target.as_posix()}{hash_}{anchor}"
    return f"{target.relative_to('docs').as_posix()}{hash_}{anchor}" if folder == ROOT else link


def navigation(captions: dict[str, list[str]]) -> str:
    """Write the tables of contents, which only the site has: on GitHub they would be code."""
    tables = (
        f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(names) + "\n```\n"
        for caption, names in captions.items()
    )
    return "\n\n" + "\n".join(tables)


# --- Docstrings -------------------------------------------------------------------


def markdown_to_rest(
    _app: Sphinx, what: str, name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Turn a docstring's Markdown into reStructuredText: fences and, in modules, indented code."""

    def directive(found: re.Match[str]) -> str:
        indent, language, code = found.groups()
        code = textwrap.indent(textwrap.dedent(code), f"{indent}    ")
        return f"{indent}.. code-block:: {language}\n\n{code}"

    text = FENCE.sub(directive, "\n".join(lines) + "\n")
    if what == "module":
        text = INDENTED.sub(r".. code-block:: text\n\n\1", text)
    lines[:] = [*text.split("\n"), *(field_default(name) if what == "attribute" else ())]


def field_default(name: str) -> list[str]:
    """Give a line with the default of a pydantic field, which autodoc can't see."""
    module, owner, field = name.rsplit(".", 2)
    model = getattr(sys.modules.get(module), owner, None)
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        return []
    info = model.model_fields.get(field)
    if info is None or info.default_factory is not None or info.is_required():
        return []
    return ["", f"Default: ``{info.default!r}``"]


def hide_pydantic_signature(
    _app: Sphinx, _what: str, _name: str, obj: Any, _options: Any, *signature: str | None
) -> tuple[str | None, ...]:
    """Leave out the constructor of a pydantic model: its fields are listed with their meaning."""
    return ("", None) if inspect.isclass(obj) and issubclass(obj, BaseModel) else signature


def skip_member(
    _app: Sphinx, _what: str, name: str, _obj: Any, _skip: bool, _options: Any
) -> bool | None:
    """Skip what comes from pydantic and LangChain and is no caller's concern."""
    return True if name in SKIPPED_MEMBERS else None


def check_reference(app: Sphinx) -> None:
    """Fail where a public name is missing from the reference.

    Raises:
        SphinxError: It names them.
    """
    documented = {name.rsplit(".", 1)[-1] for name in app.env.domains["py"].data["objects"]}
    modules = [f".{info.name}" for info in iter_modules(langchain_minitoolai.__path__)]
    public = {
        name
        for module in ["", *(name for name in modules if not name.startswith("._"))]
        for name in getattr(import_module(f"langchain_minitoolai{module}"), "__all__", ())
    }
    missing = sorted(public - documented - {"__version__", "faults"})
    if missing:
        raise SphinxError(f"public names without a place in docs/reference: {', '.join(missing)}")


# --- Markdown output --------------------------------------------------------------


class ReferenceTranslator(MarkdownTranslator):
    """Renders the API reference; the `*` of a signature is an abbreviation with a hint in it."""

    def visit_abbreviation(self, node: nodes.Element) -> None:
        """Write the abbreviation as it is."""

    def depart_abbreviation(self, node: nodes.Element) -> None:
        """Add nothing."""


def markdown_pages(app: Sphinx) -> dict[str, str]:
    """Give the build's pages in Markdown by name, which a repeated build keeps."""
    if not hasattr(app.env, "markdown_pages"):
        app.env.markdown_pages = {}
    return app.env.markdown_pages


def write_markdown(app: Sphinx, failure: Exception | None) -> None:
    """Write each page as Markdown, `llms.txt` and `llms-full.txt`."""
    if failure or app.builder.format != "html":
        return
    check_reference(app)
    pages = {name: page_text(app, name) for name in reading_order(app)}
    for name, text in pages.items():
        path = Path(app.outdir, f"{name}.md")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    head = f"# {app.config.project}\n\n> {app.config.summary}\n"
    entries = (
        f"- [{app.env.titles[name].astext()}]({name}.md): {first_sentence(app, name)}"
        for name in pages
    )
    Path(app.outdir, "llms.txt").write_text(f"{head}\n## Pages\n\n" + "\n".join(entries) + "\n")
    Path(app.outdir, "llms-full.txt").write_text(head + "".join(f"\n{p}" for p in pages.values()))


def notebook_text(source: str) -> str:
    """Give a notebook as Markdown: its texts, its code, and what that printed."""
    parts = []
    for cell in json.loads(source)["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", ()):
            shown = output.get("text") or output["data"]["text/plain"]
            parts.append(f"```text\n{''.join(shown).rstrip()}\n```")
    return "\n\n".join(parts)


def reading_order(app: Sphinx) -> list[str]:
    """List the pages as the tables of contents do."""
    order = [app.config.root_doc]
    for name in order:
        order += app.env.toctree_includes.get(name, [])
    return sorted(order, key=lambda name: name.startswith("reference/"))


def page_text(app: Sphinx, name: str) -> str:
    """Give a page as Markdown."""
    pages = markdown_pages(app)
    if name not in pages:
        builder = MarkdownBuilder(app, app.env)
        builder.init()
        builder.current_doc_name = name
        builder.sec_numbers = {}
        tree = app.env.get_and_resolve_doctree(name, builder)
        translator = ReferenceTranslator(tree, builder)
        tree.walkabout(translator)
        text = translator.astext()
        pages[name] = re.sub(r"\]\(((?!https?:)[^)#\s]+)\.html#", r"](\1.md#", text)
    return pages[name].strip() + "\n"


def first_sentence(app: Sphinx, name: str) -> str:
    """Give the first sentence of a page."""
    tree = app.env.get_doctree(name)
    paragraph = next(iter(tree.findall(nodes.paragraph)), None)
    text = " ".join(paragraph.astext().split()) if paragraph else ""
    return re.split(r"(?<=[.:])\s", text)[0]


def setup(app: Sphinx) -> None:
    """Connect the hooks and declare the settings."""
    app.add_config_value("navigation", {}, "env", dict)
    app.add_config_value("source_url", "", "env", str)
    app.add_config_value("summary", "", "", str)
    app.connect("source-read", adapt_page)
    app.connect("autodoc-process-docstring", markdown_to_rest, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", hide_pydantic_signature)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("build-finished", write_markdown)
