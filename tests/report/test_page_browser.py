"""The report page in a browser: it draws, reacts to mouse and keyboard, fits a phone, follows dark mode, stays offline."""

import contextlib
import os
import shutil
from types import SimpleNamespace

import pytest
from test_page import BEGIN, HOSTILE, MINUTE, Explained, made

MANY = tuple(f"sensor {i}" for i in range(19))
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def missing(reason):
    """Skip; where a browser is a must, fail."""
    if os.environ.get("ANOMALY_REQUIRE_BROWSER") == "1":
        pytest.fail(f"ANOMALY_REQUIRE_BROWSER=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing("playwright is not installed")
    names = (os.environ.get("ANOMALY_BROWSER"), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        missing("there is no chromium, chromium-browser or google-chrome on the PATH, and none in ANOMALY_BROWSER")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Addresses of the pages: a long series, one with hostile names and explanations, one without events."""
    pytest.importorskip("plotly")
    pytest.importorskip("tsdownsample")
    folder = tmp_path_factory.mktemp("pages")
    hostile = made(columns=(HOSTILE, "<a href='https://example.com'>heat</a>"), labels=True)
    sensitivity = hostile.scores.by_feature[280:320]
    texts = {
        "long": made(n=20_000, at=(5_000, 12_000), length=60).page(),
        "hostile": hostile.page(title=HOSTILE, explanations={0: Explained(0.5, sensitivity, 280)}),
        "counted": made(timed=False, at=()).page(),
        "many": made(n=6_000, columns=MANY, at=range(300, 5_900, 280), length=40).page(),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in texts}


@pytest.fixture(scope="module")
def tabs(browser, pages):
    """Return pages that are open already: most of the time a page takes is the 5 MB of plotly.js."""
    tabs = {}

    def tab(name, *, phone=False):
        if (name, phone) not in tabs:
            options = {"is_mobile": True, "has_touch": True} if phone else {}
            tabs[name, phone] = opened(browser, pages[name], width=390 if phone else 1280, **options)
        return tabs[name, phone]

    yield tab
    for at in tabs.values():
        at.page.context.close()


@pytest.fixture
def tab(tabs):
    """Return a function that gives a page, as it was when it was opened; afterwards no page may have complained."""
    used = []

    def clean(name, *, phone=False):
        at = tabs(name, phone=phone)
        if at.page.locator("#all").is_enabled():
            at.page.click("#all")
        at.page.evaluate("window.scrollTo(0, 0)")
        used.append(at)
        return at.page

    yield clean
    assert [message for at in used for message in at.noted] == []


def opened(browser, address, *, width, **options):
    """Open a page; note its errors, its messages, its dialogs and what it asks for.

    The reader is not in UTC, which the page's times are in.
    """
    context = browser.new_context(viewport={"width": width, "height": 800}, timezone_id="Asia/Kathmandu", **options)
    page, noted = context.new_page(), []
    page.on("console", lambda message: noted.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: noted.append(f"error: {error}"))
    page.on("request", lambda request: noted.append(f"request: {request.url}") if request.url != address else None)
    page.on("dialog", lambda dialog: (noted.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.goto(address)
    page.wait_for_selector("#training .main-svg")
    return SimpleNamespace(page=page, noted=noted)


def until(page, expression):
    """Wait until an expression is true; the policy of the page forbids what playwright has for this."""
    for _ in range(100):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true: {expression}")


def visible(page):
    """Return the range of x in milliseconds, and how many points of the score lie in it."""
    return page.evaluate("""() => {
        const chart = document.getElementById("chart"), axis = chart._fullLayout.xaxis;
        const [low, high] = axis.range.map((end) => axis.r2l(end));
        const score = chart.data.find((trace) => trace.name === "score");
        return [low, high, Array.from(score.x).map((x) => axis.d2c(x)).filter((x) => low <= x && x <= high).length];
    }""")


def moment(row):
    return (BEGIN + row * MINUTE) / 1000


@pytest.mark.parametrize(("name", "phone"), [("long", False), ("hostile", False), ("counted", True)])
def test_a_page_draws_without_a_message_and_asks_for_nothing(tab, name, phone):
    assert tab(name, phone=phone).locator("#chart .scatterlayer path.js-line").count() >= 6


def test_a_click_on_an_event_shows_its_rows_and_show_all_everything(tab):
    page = tab("long")
    before = visible(page)
    assert before[0] < moment(0)
    assert before[1] > moment(19_999)
    page.click("tr[data-event='0']")
    low, high, points = visible(page)
    assert moment(4_900) < low < moment(5_000)
    assert moment(5_059) < high < moment(5_160)
    assert points == 180  # the event, and as much again on both sides, row by row
    assert page.get_attribute("tr[data-event='0']", "aria-current") == "true"
    page.click("#all")
    assert visible(page) == before
    assert page.locator("tr[aria-current]").count() == 0
    assert page.locator("#all").is_disabled()


def test_the_height_of_a_strip_is_that_of_what_can_be_seen(tab):
    page = tab("long")
    page.click("tr[data-event='0']")
    low, high, least, most = page.evaluate("""() => {
        const chart = document.getElementById("chart"), { xaxis, yaxis2 } = chart._fullLayout;
        const [first, last] = xaxis.range.map((end) => xaxis.r2l(end)), at = (x) => xaxis.d2c(x);
        const seen = chart.data.filter((trace) => trace.yaxis === "y2")
            .flatMap((trace) => Array.from(trace.y).filter((_, i) => first <= at(trace.x[i]) && at(trace.x[i]) <= last));
        return [...yaxis2.range, Math.min(...seen), Math.max(...seen)];
    }""")
    assert low < least < most < high
    assert (most - least) / (high - low) > 0.8


@pytest.mark.parametrize("key", ["Enter", " "])
def test_a_key_on_an_event_shows_it(tab, key):
    page = tab("long")
    page.focus("tr[data-event='1']")
    page.keyboard.press(key)
    low, high, _ = visible(page)
    assert low < moment(12_000) < moment(12_059) < high < moment(12_200)


def test_the_events_follow_each_other_by_tabulator(tab):
    page = tab("long")
    page.focus("tr[data-event='0']")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.event") == "1"


def current(page):
    """Return which event is shown; None if none is."""
    rows = page.locator("tr[aria-current]")
    return int(rows.get_attribute("data-event")) if rows.count() else None


def test_keys_and_buttons_go_from_event_to_event(tab):
    page = tab("long")
    shown = []
    for press in ("n", "n", "n", "p", "w", "Escape"):
        page.keyboard.press(press)
        shown.append(current(page))
    severe = page.evaluate("[...document.querySelectorAll('tr[data-event]')].map((row) => Number(row.dataset.severity))")
    assert shown == [0, 1, 1, 0, severe.index(max(severe)), None]
    page.click("#previous")
    assert (current(page), page.locator("#next").is_disabled()) == (1, True)
    page.click("#previous")
    assert (current(page), page.locator("#previous").is_disabled()) == (0, True)
    page.click("#worst")
    assert current(page) == severe.index(max(severe))


def test_the_table_is_sorted_by_time_severity_or_duration_and_steps_follow_it(tab):
    page, order = tab("many"), "[...document.querySelectorAll('tr[data-event]')].map((row) => Number(row.dataset.event))"
    in_time = page.evaluate(order)
    assert in_time == sorted(in_time)
    for key in ("severity", "duration"):
        page.select_option("#sort", key)
        values = page.evaluate(f"[...document.querySelectorAll('tr[data-event]')].map((row) => Number(row.dataset.{key}))")
        assert values == sorted(values, reverse=True)
    page.select_option("#sort", "severity")
    by_severity = page.evaluate(order)
    assert by_severity != in_time
    page.click("#next")
    page.click("#next")
    assert current(page) == by_severity[1]
    page.select_option("#sort", "time")
    assert page.evaluate(order) == in_time


@pytest.mark.parametrize("phone", [False, True])
def test_a_long_table_is_folded_and_no_box_scrolls_within_the_page(tab, phone):
    page = tab("many", phone=phone)
    lines = page.locator("tr[data-event]")
    assert (lines.count(), page.locator("tr[data-event]:visible").count()) == (20, 12)
    boxes = page.evaluate("""() => [...document.querySelectorAll("main *")].filter((node) => node.checkVisibility()
        && ["auto", "scroll"].includes(getComputedStyle(node).overflowY) && node.scrollHeight > node.clientHeight + 1).length""")
    assert boxes == 0
    page.click("#unfold")
    assert page.locator("tr[data-event]:visible").count() == 20
    assert not page.locator("#unfold").is_visible()


def test_features_are_chosen_and_many_are_small(tab):
    page = tab("many")
    strips = "document.getElementById('chart').data.filter((trace) => trace.name === 'measured').length"
    height = "document.getElementById('chart')._fullLayout.height"
    assert page.evaluate(strips) == 6
    assert page.inner_text("#chosen") == "Features: 6 of 19 drawn"
    page.click("#chosen")
    page.click("#all-features")
    assert page.evaluate(strips) == 19
    assert page.evaluate(height) < 19 * 100
    page.uncheck("#features input[value='3']")
    assert page.evaluate(strips) == 18
    page.click("tr[data-event='2']")  # what is not drawn at first has no rows of its own, and is drawn all the same
    assert page.evaluate(strips) == 18
    page.click("#no-features")
    assert page.evaluate(strips) == 0
    page.click("#first-features")
    assert page.evaluate(strips) == 6
    page.click("#chosen")


def test_dragging_over_the_chart_zooms_and_a_double_click_shows_all(tab):
    page = tab("long")
    before = visible(page)

    def drag():
        box = page.locator("#chart").bounding_box()
        page.mouse.move(box["x"] + 200, box["y"] + 100)
        page.mouse.down()
        page.mouse.move(box["x"] + 500, box["y"] + 100, steps=4)
        page.mouse.up()

    repeat(page, drag, "#all:enabled")
    low, high, _ = visible(page)
    assert before[0] < low < high < before[1]
    box = page.locator("#chart").bounding_box()
    repeat(page, lambda: page.mouse.dblclick(box["x"] + 300, box["y"] + 100), "#all:disabled")
    assert visible(page) == before


def repeat(page, act, selector):
    """Do something until it shows: on a machine that is busy a browser may take two quick clicks for two single ones."""
    from playwright.sync_api import TimeoutError as TooLate

    for _ in range(10):
        act()
        with contextlib.suppress(TooLate):
            page.wait_for_selector(selector, timeout=3000)
            return
    page.wait_for_selector(selector, timeout=1)


@pytest.mark.parametrize("name", ["long", "counted"])
def test_a_page_fits_a_phone(tab, name):
    page = tab(name, phone=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#chart").bounding_box()["height"] < 800
    sizes = page.evaluate("""() => [...document.querySelectorAll("body *")]
        .filter((node) => node.checkVisibility() && [...node.childNodes].some((x) => x.nodeType === 3 && x.data.trim()))
        .map((node) => parseFloat(getComputedStyle(node).fontSize))""")
    assert min(sizes) >= 14


def test_a_tap_on_an_event_shows_it_on_a_phone(tab):
    page = tab("long", phone=True)
    page.tap("tr[data-event='0']")
    assert visible(page)[2] == 180
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def lightness(colour):
    """Return the mean of red, green and blue of "#rrggbb" or "rgb(r, g, b)"."""
    if colour.startswith("#"):
        return sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) / 3
    return sum(float(part) for part in colour[4:-1].split(",")) / 3


def test_page_and_charts_follow_dark_mode_while_they_are_open(tab):
    page, paper = tab("long"), "document.getElementById('chart')._fullLayout.paper_bgcolor"
    colours = """() => [getComputedStyle(document.body).backgroundColor,
        ...["chart", "calibration", "training"].map((id) => document.getElementById(id)._fullLayout.paper_bgcolor),
        getComputedStyle(document.querySelector("#chart .main-svg")).backgroundColor]"""
    assert min(lightness(colour) for colour in page.evaluate(colours)) > 200
    page.emulate_media(color_scheme="dark")
    until(page, f"{paper} !== '#ffffff'")
    assert max(lightness(colour) for colour in page.evaluate(colours)) < 60
    page.emulate_media(color_scheme="light")
    until(page, f"{paper} === '#ffffff'")
    assert min(lightness(colour) for colour in page.evaluate(colours)) > 200


def test_names_that_are_markup_do_nothing(tab):
    page = tab("hostile")
    page.click("tr[data-event='0']")
    page.wait_for_selector("#heatmap .main-svg")
    assert page.title() == HOSTILE
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.locator("a").count() == 0
    texts = page.locator("#chart .annotation-text").all_text_contents()
    assert {HOSTILE, "<a href='https://example.com'>heat</a>"} <= set(texts)


def test_an_explanation_is_drawn_while_its_event_is_shown(tab):
    page = tab("hostile")
    assert not page.locator("#explanation").is_visible()
    page.click("tr[data-event='0']")
    assert page.locator("#heatmap .main-svg").first.is_visible()
    page.click("tr[data-event='1']")
    assert not page.locator("#explanation").is_visible()


def test_the_chart_follows_the_width_of_the_window(tab):
    page = tab("hostile")
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        until(page, f"Math.abs(document.getElementById('chart')._fullLayout.width - {width}) < 200")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_script_that_is_not_of_the_page_does_not_run(tabs):
    at = tabs("counted", phone=True)
    at.page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.foreign = true";
        document.body.append(script);
    }""")
    assert at.page.evaluate("window.foreign") is None
    assert any("Content Security Policy" in message for message in at.noted)
    at.noted.clear()
