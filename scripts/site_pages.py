"""The pages of the documentation that are written elsewhere; mkdocs runs it while it builds.

The home page, *Contributing* and *Changelog* are files of the repository's root, with links that
start there. The reference has a page for each public module, ordered by rooms.
"""

from __future__ import annotations

from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).parents[1]
PACKAGES = ("ml_backend", "tasks")
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def copy_root_pages() -> None:
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        for name, target in PAGES.items():
            text = text.replace(f"]({name})", f"]({target})")
        if not text.startswith("# "):
            text = f"# cytoloop\n\n{text}"
        with mkdocs_gen_files.open(page, "w") as file:
            file.write(text)
        mkdocs_gen_files.set_edit_path(page, source)


def write_reference() -> None:
    nav = mkdocs_gen_files.Nav()
    for path in sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("").parts
        if module[-1] == "__main__":
            continue
        page = Path(*module).with_suffix(".md")
        if module[-1] == "__init__":
            module, page = module[:-1], page.with_name("index.md")
        nav[module] = page.as_posix()
        with mkdocs_gen_files.open(Path("reference", page), "w") as file:
            file.write(f"::: {'.'.join(module)}\n")
    with mkdocs_gen_files.open("reference/SUMMARY.md", "w") as file:
        file.write("---\nsearch:\n  exclude: true\n---\n\n")  # a list of pages is no page
        file.writelines(nav.build_literate_nav())


copy_root_pages()
write_reference()
