"""Drives a report in headless Chromium: moves the threshold, filters the gallery, enlarges an image, at the widths of a
desk and of a phone. Usage: report_browser.py REPORT_FOLDER [SCREENSHOT_PREFIX]"""
import json
import pathlib
import shutil
import sys

from playwright.sync_api import sync_playwright

folder = pathlib.Path(sys.argv[1]).resolve()
prefix = sys.argv[2] if len(sys.argv) > 2 else None
page_uri = (folder / "report.html").as_uri()
report = json.loads((folder / "report.json").read_text())
rows = [p for p in report["predictions"] if p["label"]]
shown = [p for p in rows if p["picture"] is not None]


def verdicts(of, threshold):
    count = {"missed": 0, "alarm": 0, "found": 0, "passed": 0}
    for p in of:
        bad = p["score"] >= threshold
        count[("found" if bad else "missed") if p["label"] == "defect" else ("alarm" if bad else "passed")] += 1
    return count


def all_cards(page):
    while page.is_visible("#more"):
        page.click("#more")
    return page.locator("#gallery button.strip").count()


def threshold_moves(page):
    assert page.inner_text("#headline") == report["at_threshold"]["headline"]
    scores = sorted(p["score"] for p in rows)
    for t in (scores[0], (scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2, scores[-1]):
        page.fill("#number", repr(t))
        page.wait_for_timeout(200)
        v, total = verdicts(rows, t), verdicts(rows, 0)["found"]
        assert page.inner_text("#headline").startswith(f"{v['found']} of {total} defective"), page.inner_text("#headline")
        assert f"{v['missed']} escape" in page.inner_text("#summary") and f"{v['alarm']} false alarm" in page.inner_text("#summary")
        for table in page.evaluate("""[...document.querySelectorAll('#groups table')].map(t => [...t.tBodies[0].rows]
                .reduce((s, r) => s + Number(r.cells[2].textContent), 0))"""):
            assert table == v["found"], (table, v)
        here = verdicts(shown, t)
        for name, n in here.items():
            page.click(f"[data-verdict={name}]")
            assert all_cards(page) == n, (name, n)
        page.click("[data-verdict=all]")
    page.fill("#cost-escape", "500")
    page.fill("#cost-false-alarm", "4")
    page.locator("#presets button", has_text="Cheapest").click()
    text = page.inner_text("#summary")
    least = min(500 * v["missed"] + 4 * v["alarm"] for v in (verdicts(rows, s) for s in scores + [2]))
    assert text.endswith(f"cost {least:,}"), (text, least)
    page.locator("#presets button", has_text="own").click()
    page.focus("#slider")
    before = page.input_value("#number")
    page.keyboard.press("ArrowLeft")
    assert page.input_value("#number") != before


def gallery_filters(page):
    for index, key in ((0, lambda p: p["type"]), (1, None)):
        select, total = page.locator("#filters select").nth(index), 0
        for value in select.evaluate("s => [...s.options].map(o => o.value)")[1:]:
            select.select_option(value)
            cards = all_cards(page)
            assert key is None or cards == sum(key(p) == value for p in shown), (value, cards)
            total += cards
        assert total == (len(shown) if key else sum(p["label"] == "defect" for p in shown)), total
        select.select_option("")


def viewer_opens(page):
    page.locator("#gallery button.strip").first.focus()
    page.keyboard.press("Enter")
    first = page.inner_text("#viewer-title")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#viewer-title") != first
    page.wait_for_timeout(200)
    if prefix:
        page.screenshot(path=f"{prefix}-{page.viewport_size['width']}-viewer.png")
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer")


def look(browser, width, height):
    page = browser.new_page(viewport={"width": width, "height": height})
    messages, requests = [], []
    page.on("console", lambda m: messages.append(m.text))
    page.on("pageerror", lambda e: messages.append(str(e)))
    page.on("request", lambda r: None if r.url.startswith("data:") else requests.append(r.url))
    page.goto(page_uri)
    page.wait_for_selector("#gallery li")
    if prefix:
        page.screenshot(path=f"{prefix}-{width}.png")
    all_cards(page)
    page.wait_for_function("[...document.images].every(i => i.complete)")
    assert page.evaluate("document.images.length") >= 3 * len(shown)
    assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0 && i.src.startsWith('data:'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than its window"
    if prefix:
        page.screenshot(path=f"{prefix}-{width}-full.png", full_page=True)
    threshold_moves(page)
    gallery_filters(page)
    viewer_opens(page)
    assert messages == [] and requests == [page_uri], (messages, requests)
    page.close()


with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    look(chromium, 1280, 900)
    look(chromium, 390, 844)
    chromium.close()
print(f"{len(rows)} images, {len(shown)} shown: passed")
