import pytest

from tests.markdown import Block, blocks

PAGE = """\
# A page

```python
x = 1
```

Text with `code` and

<!-- not run: it costs money -->

```python title="later"
y = x
```

1. In a list:

   ```bash
   make demo
   ```

````markdown
```python
not code
```
````
"""


def test_blocks_are_found_with_language_line_and_reason() -> None:
    assert blocks(PAGE) == [
        Block("python", "x = 1\n", 4),
        Block("python", "y = x\n", 12, "it costs money"),
        Block("bash", "make demo\n", 18),
        Block("markdown", "```python\nnot code\n```\n", 22),
    ]


@pytest.mark.parametrize("page", ["", "no code", "``` never closed"])
def test_a_page_without_blocks_has_none(page: str) -> None:
    assert blocks(page) == []


def test_a_comment_further_up_leaves_nothing_out() -> None:
    page = "<!-- not run: this -->\n```python\n1\n```\ntext\n```python\n2\n```\n"
    assert [block.not_run for block in blocks(page)] == ["this", None]
