from pathlib import Path

import generate
import pytest

from langchain_minitoolai import contract


@pytest.mark.parametrize("page", generate.pages(), ids=lambda page: page.name)
def test_the_tables_of_a_page_are_those_of_the_contract(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert generate.render(text) == text, "run `make tables`"
    assert text.count("<!-- generated:") == len(generate.PLACE.findall(text))


def test_every_table_stands_on_some_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in generate.pages())
    assert {name for _, name, _ in generate.PLACE.findall(text)} == set(generate.TABLES)


def test_a_changed_price_changes_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(contract.CHAT_PRICES, "gpt-4o", contract.TokenPrice(9.75, 10))
    assert "9.75" in generate.render("<!-- generated: chat-models -->\nold\n<!-- end -->")


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="no-such"):
        generate.render("<!-- generated: no-such -->\n<!-- end -->")


def test_text_around_the_places_stays() -> None:
    assert generate.render("# Title\n\n| a |\n") == "# Title\n\n| a |\n"


def test_check_names_the_page_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- generated: input-images -->\n<!-- end -->\n")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().out == "README.md: behind the contract\n"
    assert "gpt-4o" not in page.read_text()
    assert generate.main([]) == 0
    assert "gpt-4o" in page.read_text()
    assert generate.main(["--check"]) == 0
