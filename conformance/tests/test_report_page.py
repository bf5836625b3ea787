"""The page of a report: complete, self-contained, safe whatever a backend says; in a browser its script works."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest

from hal_conformance.clauses import clauses
from hal_conformance.report.document import document
from hal_conformance.report.page import page

from .reports import RERUN, run

VOID = {"meta", "input"}
HOSTILE = "<script>alert(1)</script></pre><img src=x onerror=alert(1)>\"'&amp;{{ 7 * 7 }}\x1b[31m\u202e\udcff\x00"


class Reader(HTMLParser):
    """A strict reader: every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def shown(reader: Reader) -> str:
    return " ".join(" ".join(reader.text).split())


def test_it_is_one_well_formed_page_that_loads_nothing() -> None:
    reader = read(page(document(run({"HAL-MEM-001": "fail"}), clauses())))
    names = [tag for tag, _ in reader.tags]
    assert names.count("script") == names.count("style") == names.count("main") == names.count("h1") == 1
    assert not {"img", "link", "iframe", "object", "base"} & set(names)
    for _, attributes in reader.tags:
        assert not {"src", "style", "onclick"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    identifiers = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    targets = {(attributes["href"] or "")[1:] for _, attributes in reader.tags if "href" in attributes}
    assert targets <= set(identifiers)


def test_what_a_backend_says_is_text() -> None:
    whole = run({"HAL-MEM-001": "fail", "HAL-MEM-002": "xfail"}, detail=HOSTILE)
    subject = attrs.evolve(whole.subject, device=HOSTILE, version=HOSTILE, problems=(HOSTILE,))
    subject = attrs.evolve(subject, properties={"details": {HOSTILE: HOSTILE}})
    text = page(document(attrs.evolve(whole, subject=subject), clauses()))
    reader = read(text)
    plain = read(page(document(run({"HAL-MEM-001": "fail", "HAL-MEM-002": "xfail"}), clauses())))
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert {tag for tag, _ in reader.tags} == {tag for tag, _ in plain.tags}
    assert "alert(1)" in shown(reader)
    assert "{{ 7 * 7 }}" in shown(reader)
    assert "\\u001b[31m\\u202e\\udcff\\u0000" in text
    assert not set("\x1b\u202e\udcff\x00") & set(text)
    text.encode("utf-8")


def test_the_policy_lets_no_other_script_run() -> None:
    text = page(document(run(), clauses()))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_verdict_comes_first_then_the_failures() -> None:
    text = page(document(run({"HAL-MEM-001": "fail", "HAL-DSC-011": "crash"}), clauses()))
    order = ['class="word">Failed', 'id="failures"', 'id="tested"', 'id="profiles"', 'id="clauses"']
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    said = shown(read(text))
    assert "2 tests failed: 1 of" in said
    assert said.index("memory::test_mem-001[1]") < said.index("executor::test_dsc-011[1]")  # mandatory ones first
    assert RERUN in said
    for one in clauses().values():
        assert f'id="{one.id}"' in text
    assert text.index('id="HAL-MEM-001"') < text.index('id="HAL-DSC-001"')  # those that do not hold first


def test_a_partial_result_says_which_mandatory_clauses_were_not_decided() -> None:
    whole = run({"HAL-MEM-001": "resource"}, left={"HAL-MEM-002": "not chosen"}, detail="too small")
    text = page(document(whole, clauses()))
    said = shown(read(text))
    assert "No test failed, but 2 of" in said
    assert "Its tests: the machine lacks what it needs: 1." in said
    assert "Its tests: left out by the options of the run: 1." in said
    section = text[text.index('id="undecided"') : text.index('id="tested"')]
    assert set(re.findall(r"#(HAL-[A-Z]{3}-\d{3})", section)) == {"HAL-MEM-001", "HAL-MEM-002"}


def test_a_good_result_says_so() -> None:
    said = shown(read(page(document(run(), clauses()))))
    assert "Conformant" in said
    assert "mandatory clauses that apply hold." in said
    assert "Failures" not in said


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PROBE = """
<script>
  const set = (name, value) => {
    const field = document.getElementById(name);
    field.value = value;
    field.dispatchEvent(new Event("input", {bubbles: true}));
    return document.querySelectorAll(".clauses > li:not([hidden])").length;
  };
  const seen = [
    document.querySelector(".filter").hidden, set("search", "HAL-MEM-001"), set("search", "nothing like it"),
    document.querySelector(".empty").hidden, set("search", ""), set("state", "fail"), set("state", ""),
    set("profile", "memory"), set("search", "test_mem-002"),
  ];
  document.querySelector('a[data-profile="executor"]').click();
  seen.push(document.querySelectorAll(".clauses > li:not([hidden])").length);
  location.hash = "#HAL-MEM-003";
  dispatchEvent(new Event("hashchange"));
  const found = document.getElementById("HAL-MEM-003");
  seen.push(found.hidden, found.querySelector("details").open);
  document.title = JSON.stringify(seen);
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser is here to run the page's script: chromium or google-chrome")
def test_search_and_filters_in_a_browser(tmp_path: Path) -> None:
    assert BROWSER is not None
    whole = document(run({"HAL-MEM-001": "fail"}), clauses())
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page(whole))
    (tmp_path / "probe.html").write_text(text.replace("</body>", PROBE + "</body>"), "utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--dump-dom", (tmp_path / "probe.html").as_uri()], capture_output=True, text=True, timeout=90
    )
    memory = sum("-MEM-" in name and one.testable for name, one in clauses().items())
    executor = sum("-MEM-" not in name and one.testable for name, one in clauses().items())
    wanted = f"[false,1,0,false,{len(clauses())},1,{len(clauses())},{memory},1,{executor},false,true]"
    assert re.findall(r"<title>(.*?)</title>", done.stdout) == [wanted]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser is here to apply the page's policy: chromium or google-chrome")
def test_the_policy_admits_the_page_s_own_script_in_a_browser(tmp_path: Path) -> None:
    assert BROWSER is not None
    text = page(document(run(), clauses())).replace("</body>", '<script>document.title = "taken"</script></body>')
    (tmp_path / "probe.html").write_text(text, "utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--dump-dom", (tmp_path / "probe.html").as_uri()], capture_output=True, text=True, timeout=90
    )
    assert f"{len(clauses())} of {len(clauses())} clauses" in done.stdout  # written by the page's own
    assert "<title>taken" not in done.stdout
