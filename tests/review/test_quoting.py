"""Whatever a change says, it stays inside what the page quotes it in: read by a parser of Markdown."""

from __future__ import annotations

import html

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dot_wrapper.review.quoting import block, code, fold, markup, plain, table

# Pieces of what could end a quotation, begin an element or forge a line.
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "`",
                "```",
                "````",
                "~~~",
                "|",
                "\\",
                "\n",
                "\n\n",
                "</details>",
                "<!-- x -->",
                "**",
                "- 🔴 ",
                "# ",
                "[a](b)",
                "\u202e",
                "\r",
            ]
        ),
        st.text(max_size=5),
    ),
    max_size=12,
).map("".join)
FORGED = "```\n</details>\n**✅ nothing to decide** <!-- dot-wrapper review -->\n````"

markdown = MarkdownIt("gfm-like", {"linkify": False})


@given(HOSTILE)
@example(FORGED)
def test_a_block_is_one_block(text: str) -> None:
    tokens = markdown.parse(f"before\n\n{block(text)}\n\nafter")
    assert [token.type for token in tokens if token.nesting == 0] == ["inline", "fence", "inline"]
    (fence,) = (token for token in tokens if token.type == "fence")
    assert not fence.content or fence.content.replace("\n", "").replace("\t", "").isprintable()


@given(HOSTILE)
@example(FORGED)
def test_inline_code_is_one_code_in_a_sentence_and_in_a_cell(text: str) -> None:
    (inline,) = (token for token in markdown.parse(f"before {code(text)} after") if token.type == "inline")
    assert inline.children
    assert [child.type for child in inline.children] == ["text", "code_inline", "text"]
    cells = [
        token
        for token in markdown.parse(table(["a", "b"], [[code(text), "after"]]))
        if token.type == "inline" and token.children
    ]
    assert [[child.type for child in cell.children or []] for cell in cells[2:]] == [["code_inline"], ["text"]]


@given(HOSTILE)
@example(FORGED)
def test_plain_text_is_text(text: str) -> None:
    (inline,) = (token for token in markdown.parse(f"# x{plain(text)}x") if token.type == "inline")
    kinds = {child.type for child in inline.children or []}
    assert kinds <= {"text", "text_special"}, kinds


@given(HOSTILE)
@example(FORGED)
def test_the_title_of_a_fold_stays_in_its_element(text: str) -> None:
    folded = fold(f"<code>{markup(text)}</code>", "body")
    title = folded.partition("<summary><code>")[2].partition("</code></summary>")[0]
    assert "\n" not in title
    assert not set("<>") & set(title)
    assert html.unescape(title).isprintable() or not title


def test_a_long_text_is_shortened() -> None:
    assert code("x" * 500, 10) == f"`{'x' * 9}…`"
