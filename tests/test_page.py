"""The server's page in a real browser: what a person sees, hears and can do, and what the page may never do.

Each test asks a real server with a tiny model. Skipped where there is no Chromium; `CHROMIUM` names one elsewhere.
"""

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
pytest.importorskip("playwright.sync_api", reason="needs the extra 'test'")

from axe_playwright_python.sync_playwright import Axe
from conftest import draw
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright
from serving import CLASSES, Running, eventually, release, rows, running

from kt.kinds.pictures.images import read_rgb, resize
from kt.predict.decide import Wanted
from kt.serve.page import HEADERS, page_routes

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
KEY = "open sesame"
SHOWN_SIZE = "32 \N{MULTIPLICATION SIGN} 24 pixels"
TOLD = {
    "description": "Fruit by its colour.",
    "rendered": True,
    "test": {"images": 1200, "balanced_accuracy": 0.8765, "intervals": {"balanced_accuracy": [0.81, 0.93]}},
}

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def server(exports: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two models; a test gives the second one a new version."""
    folder = tmp_path_factory.mktemp("served")
    for name in ("fruit", "growing"):
        release(exports[0], folder / name, 1)
    (folder / "fruit" / "1" / "kt.json").write_text(json.dumps(TOLD), encoding="utf-8")
    (folder / "fruit" / "labels.json").write_text('{"stable": 1}', encoding="utf-8")
    with running(folder, pages=page_routes(), hosts=("orchard.example",)) as made:
        yield made


@pytest.fixture
def locked(server: Running) -> Iterator[Running]:
    """Another server, which asks for a key."""
    with running(server.folder / "fruit", pages=page_routes(), api_key=KEY) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        rootless = [] if os.geteuid() else ["--no-sandbox"]  # Chromium's sandbox refuses root
        camera = ["--use-fake-device-for-media-stream"]
        elsewhere = ["--host-resolver-rules=MAP orchard.example 127.0.0.1"]
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=rootless + camera + elsewhere)
        yield opened
        opened.close()


@dataclass
class Log:
    """What the pages of a test asked for beside their own server, and what they complained of."""

    strangers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def follow(self, page: Page, address: str) -> None:
        own = (address, f"blob:{address}")
        page.on("request", lambda asked: asked.url.startswith(own) or self.strangers.append(asked.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text))

    def expected(self, text: str) -> None:
        """Take what a test provokes out of the complaints."""
        assert any(text in complaint for complaint in self.complaints), self.complaints
        self.complaints = [complaint for complaint in self.complaints if text not in complaint]


def fulfil(route: Route, answer: Any) -> None:
    route.fulfill(json=answer)


Opened = Callable[..., Page]


@pytest.fixture
def log() -> Iterator[Log]:
    kept = Log()
    yield kept
    assert kept.complaints == []
    assert kept.strangers == []


@pytest.fixture
def opened(browser: Browser, server: Running, log: Log) -> Iterator[Opened]:
    """Opens the page; none may ask anything of another server, or complain of what the test did not provoke."""
    contexts = []

    def opened(
        address: str = f"{server.url}/",
        *,
        width: int = 1200,
        color_scheme: Literal["light", "dark"] = "light",
        reduced_motion: Literal["reduce", "no-preference"] = "reduce",
        permissions: Sequence[str] = (),
        answers: Mapping[str, Any] | None = None,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=color_scheme,
            reduced_motion=reduced_motion,
            permissions=permissions,
        )
        contexts.append(context)
        page = context.new_page()
        log.follow(page, address)
        for path, answer in (answers or {}).items():
            page.route(f"**{path}", partial(fulfil, answer=answer))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()


def picture(file: Path, label: str, index: int = 1) -> Path:
    draw(label, index).save(file)
    return file


def give(page: Page, *files: Path) -> None:
    page.locator("#files").set_input_files([str(file) for file in files])
    settled(page)


def settled(page: Page) -> None:
    expect(page.get_by_role("region", name="Answers")).to_be_visible()
    expect(page.locator("[aria-busy]")).to_have_count(0, timeout=30_000)


def card(page: Page, name: str) -> Locator:
    heading = page.get_by_role("heading", name=name, exact=True)
    return page.locator(".card").filter(has=heading)


def labelled(server: Running, file: Path) -> re.Pattern[str]:
    """The label that the server gives a picture, as the text of an element."""
    return re.compile(f"^{predicted(server, file)['label']}$")


def predicted(server: Running, file: Path) -> dict[str, Any]:
    """What the server answers to any other client."""
    answer = server.post("/v1/models/fruit:predict", json=rows(file.read_bytes()))
    return answer.json()["predictions"][0]


# ---- what the server sends


def test_every_file_of_the_page_comes_with_the_headers_that_fence_it_in(server: Running) -> None:
    page = server.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    wanted = re.findall(r'(?:src|href)="(page/[^"]+)"', page.text)
    assert {Path(name).suffix for name in wanted} == {".js", ".css", ".svg"}
    for path in ["/", *(f"/{name}" for name in wanted)]:
        answer = server.get(path)
        assert answer.status_code == 200, path
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert not any(word in " ".join(policy.values()) for word in ("unsafe", "http", "data:", "*"))


def test_nothing_beside_the_page_is_served(server: Running) -> None:
    for path in ("/page/", "/page/%2e%2e/page.py", "/page/page.py", "/page.py"):
        assert server.get(path).status_code == 404, path


def test_the_page_is_open_to_those_without_a_key_but_what_it_asks_is_not(locked: Running) -> None:
    assert [locked.get(path).status_code for path in ("/", "/page/page.js", "/about.json")] == [200, 200, 401]
    assert locked.get("/about.json", headers={"X-API-Key": KEY}).status_code == 200


# ---- what a person sees


@needs_chromium
def test_two_pictures_get_a_card_each_with_what_the_server_answers(
    opened: Opened, server: Running, tmp_path: Path
) -> None:
    page, files = opened(), [picture(tmp_path / f"{label}.png", label) for label in ("green", "blue")]
    give(page, *files)
    expect(page.locator(".card")).to_have_count(2)
    for file in files:
        answer, shown = predicted(server, file), card(page, file.name)
        expect(shown.locator(".label strong")).to_have_text(answer["label"])
        expect(shown.locator(".label .number")).to_have_text(f"{max(answer['scores']):.3f}")
        by_score = sorted(zip(answer["scores"], answer["classes"], strict=True), reverse=True)
        expect(shown.locator(".scores li")).to_have_text([f"{name} {score:.3f}" for score, name in by_score])
        top = by_score[0][0]
        bar, room = (shown.locator(f"li.top {part}").bounding_box() for part in (".bar span", ".bar"))
        assert bar["width"] / room["width"] == pytest.approx(top, abs=0.01)
        expect(shown.locator(".origin")).to_have_text(re.compile(r"^fruit, version 1 · \d+ ms$"))


@needs_chromium
def test_the_model_is_told_with_its_version_classes_and_test_figures(opened: Opened) -> None:
    page = opened()
    about = page.get_by_role("region", name="The model")
    expect(page).to_have_title("fruit: ask about a picture")
    expect(page.get_by_role("heading", level=1)).to_have_text("fruit")
    expect(about).to_contain_text("1 (stable)")
    expect(about).to_contain_text(SHOWN_SIZE)
    expect(about.locator(".classes li")).to_have_text(CLASSES)
    expect(about.get_by_role("definition").first).to_have_text(f"{TOLD['test']['balanced_accuracy']:.3f}")
    expect(about).to_contain_text("0.810 to 0.930")
    expect(about).to_contain_text("Measured once on 1,200 test pictures")
    expect(page.get_by_role("note")).to_contain_text("rendered pictures, not photos")
    page.get_by_label("Model", exact=True).select_option("growing")
    expect(about).to_contain_text("without test figures")
    expect(page.get_by_role("note")).to_be_hidden()


@needs_chromium
def test_a_file_that_is_no_picture_has_its_error_on_its_own_card(
    opened: Opened, server: Running, log: Log, tmp_path: Path
) -> None:
    page, good = opened(), picture(tmp_path / "red.png", "red")
    (tmp_path / "torn.png").write_bytes(good.read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("an apple a day")
    (tmp_path / "empty.jpg").touch()
    give(page, tmp_path / "torn.png", good, tmp_path / "notes.txt", tmp_path / "empty.jpg")
    expect(page.locator(".card .answer:visible")).to_have_count(1)
    expect(card(page, "red.png").locator(".label strong")).to_have_text(labelled(server, good))
    expect(card(page, "torn.png").locator(".error")).to_contain_text("This file cannot be read: ")
    expect(card(page, "notes.txt").locator(".error")).to_contain_text("not a JPEG, PNG, GIF, BMP, WebP or TIFF")
    expect(card(page, "empty.jpg").locator(".error")).not_to_be_empty()
    expect(page.get_by_role("button", name="Try", exact=False)).to_have_count(0)  # it would not help
    expect(page.get_by_role("status")).to_have_text("1 of 4 pictures answered.")
    log.expected("400")


@needs_chromium
def test_a_picture_that_the_browser_cannot_show_is_answered_all_the_same(
    opened: Opened, server: Running, tmp_path: Path
) -> None:
    page, file = opened(), picture(tmp_path / "scan.tiff", "blue")
    give(page, file)
    expect(card(page, "scan.tiff").locator(".label strong")).to_have_text(labelled(server, file))
    expect(card(page, "scan.tiff").locator("img, canvas")).to_have_count(0)


@needs_chromium
@pytest.mark.parametrize("orientation", [1, 6, 3])
def test_the_picture_is_drawn_as_the_model_sees_it(opened: Opened, tmp_path: Path, orientation: int) -> None:
    exif, file = Image.Exif(), tmp_path / "photo.jpg"
    exif[0x0112] = orientation
    ramp = np.linspace(0, 255, 180)[None, :, None] * [1, 0.5, 0] + np.linspace(0, 255, 120)[:, None, None] * [0, 0.5, 1]
    Image.fromarray(ramp.astype(np.uint8)).save(file, quality=95, exif=exif)
    page = opened()
    give(page, file)
    canvas = page.get_by_role("img", name=f"photo.jpg as the model sees it, {SHOWN_SIZE}")
    levels = canvas.evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
    drawn = np.array(levels).reshape(24, 32, 4)[..., :3]
    assert np.abs(drawn - resize(read_rgb(file), (24, 32)).astype(int)).mean() < 3


@needs_chromium
def test_what_is_transparent_is_drawn_on_white(opened: Opened, tmp_path: Path) -> None:
    Image.new("RGBA", (40, 40), (200, 0, 0, 0)).save(tmp_path / "glass.png")
    page = opened()
    give(page, tmp_path / "glass.png")
    drawn = page.locator("canvas").evaluate("c => [...c.getContext('2d').getImageData(9, 9, 1, 1).data]")
    assert drawn == [255, 255, 255, 255]


@needs_chromium
def test_where_the_model_looks_is_shown_in_colour_and_told_in_words(
    opened: Opened, server: Running, tmp_path: Path
) -> None:
    page, file = opened(), picture(tmp_path / "red.png", "red")
    give(page, file, picture(tmp_path / "blue.png", "blue"))
    shown = card(page, "red.png")
    answer = server.post("/v1/models/fruit:explain", json=rows(file.read_bytes())).json()["explanations"][0]
    words = f"{answer['label']}: {answer['in_words']}."
    page.get_by_role("button", name="Where does it look? red.png", exact=True).focus()
    page.keyboard.press("Enter")
    expect(shown.locator(".map figcaption")).to_have_text(words)
    expect(shown.get_by_role("button", name="Show it red.png")).to_be_focused()  # the same button, for another class
    expect(page.get_by_role("status")).to_have_text(f"red.png: {words}")
    image = page.get_by_role("img", name=f"red.png, in colour where it speaks for {answer['label']}", exact=True)
    image.evaluate("image => image.decode()")
    size = image.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    with Image.open(io.BytesIO(base64.b64decode(answer["overlay"]["b64"]))) as overlay:
        assert size == [*overlay.size]
    expect(page.get_by_role("button", name="Where does it look? blue.png")).to_be_visible()


@needs_chromium
def test_another_class_can_be_asked_for_and_takes_the_place_of_the_first(
    opened: Opened, server: Running, tmp_path: Path
) -> None:
    page, file = opened(), picture(tmp_path / "red.png", "red")
    give(page, file)
    shown, told = card(page, "red.png"), predicted(server, file)
    classes = [name for _, name in sorted(zip(told["scores"], told["classes"], strict=True), reverse=True)]
    choice = shown.get_by_label("What speaks for")
    expect(choice).to_be_hidden()
    shown.get_by_role("button", name="Where does it look?").click()
    expect(shown.locator(".map figcaption")).to_contain_text(f"{classes[0]}: ")
    assert choice.locator("option").all_inner_texts() == classes
    expect(choice).to_have_value(classes[0])
    body = {**rows(file.read_bytes()), "class": classes[1]}
    answer = server.post("/v1/models/fruit:explain", json=body).json()["explanations"][0]
    choice.select_option(classes[1])
    shown.get_by_role("button", name="Show it").click()
    expect(shown.locator(".map figcaption")).to_have_text(f"{classes[1]}: {answer['in_words']}.")
    expect(shown.locator(".map")).to_have_count(1)


@needs_chromium
def test_a_look_that_fails_says_why_and_can_be_tried_again(opened: Opened, log: Log, tmp_path: Path) -> None:
    page = opened()
    give(page, picture(tmp_path / "red.png", "red"))
    button, shown = page.get_by_role("button", name="Where does it look? red.png"), card(page, "red.png")
    page.context.set_offline(True)
    button.click()
    expect(shown.locator(".looking .error")).to_contain_text("be reached, or it closed the connection")
    page.context.set_offline(False)
    button.click()
    expect(shown.locator(".map figcaption")).not_to_be_empty()
    expect(shown.locator(".looking .error")).to_have_count(0)
    log.expected("ERR_INTERNET_DISCONNECTED")


@needs_chromium
def test_a_picture_that_the_model_is_unsure_of_gets_no_label_but_its_set(
    opened: Opened, server: Running, tmp_path: Path
) -> None:
    release(server.folder / "fruit" / "1", tmp_path / "fruit", 1)
    (tmp_path / "fruit" / "1" / "kt.json").write_text(json.dumps({**TOLD, "sets": {"0.9": 0.0}}), encoding="utf-8")
    file = picture(tmp_path / "red.png", "red")
    wanted = Wanted((("blue", 0.999),), below=0.995, sets=0.9)
    with running(tmp_path / "fruit", pages=page_routes(), wanted=wanted, explains=False) as made:
        page = opened(f"{made.url}/")
        give(page, file)
        expect(page.locator(".card .label")).to_be_visible()
        expect(page.get_by_role("button", name="Where does it look?")).to_have_count(0)
    with running(tmp_path / "fruit", pages=page_routes(), wanted=wanted) as made:
        page = opened(f"{made.url}/")
        give(page, file)
        answer = predicted(made, file)
        best = max(zip(answer["scores"], answer["classes"], strict=True))
        shown = card(page, "red.png")
        expect(shown.locator(".label")).to_have_text(f"Unsure {best[0]:.3f}")
        expect(shown.locator(".unsure")).to_be_visible()
        expect(shown.locator(".set")).to_have_text("Set for 90%: blue, green or größer")
        expect(shown.locator(".scores li.top")).to_have_count(0)
        told = f"red.png: unsure, at best {best[1]}, {best[0]:.3f}. Set for 90%: blue, green or größer"
        expect(page.get_by_role("status")).to_have_text(told)
        about = page.get_by_role("region", name="The model")
        expect(about).to_contain_text("blue from 0.999 on, others from 0.995 on; otherwise it is unsure")
        expect(about).to_contain_text("with the true one in it for 90% of all pictures")
        page.get_by_role("button", name="Where does it look? red.png").click()
        expect(shown.locator(".map figcaption")).to_contain_text(f"{best[1]}: ")  # the best class is explained


@needs_chromium
def test_many_classes_fold_and_their_names_are_text_whatever_they_hold(opened: Opened, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    classes = [hostile, *(f"class {i}" for i in range(11))]
    scores = [0.5, *(0.1 - i / 200 for i in range(11))]
    model = {"name": hostile, "version": 3, "classes": classes, "image_size": [8, 8], "test": {}}
    prediction = {"label": hostile, "scores": scores, "classes": classes}
    page = opened(answers={"/about.json": {"models": [model]}, ":predict": {"predictions": [prediction]}})
    give(page, picture(tmp_path / "a.png", "red"))
    expect(page.locator(".card .label strong")).to_have_text(hostile)
    expect(page.locator(".card .scores li:visible")).to_have_count(5)
    page.get_by_text("7 more classes").click()
    expect(page.locator(".card .scores li:visible")).to_have_count(12)


@needs_chromium
def test_another_model_is_chosen_by_its_name(opened: Opened, tmp_path: Path) -> None:
    page = opened()
    page.get_by_label("Model", exact=True).select_option("growing")
    expect(page.get_by_role("heading", level=1)).to_have_text("growing")
    give(page, picture(tmp_path / "a.png", "blue"))
    expect(card(page, "a.png").locator(".origin")).to_contain_text("growing, version")


@needs_chromium
def test_a_page_that_was_open_goes_on_with_the_version_that_came_meanwhile(
    opened: Opened, server: Running, log: Log, tmp_path: Path
) -> None:
    page, growing = opened(), server.folder / "growing"
    page.get_by_label("Model", exact=True).select_option("growing")
    release(growing / "1", growing, 2)
    eventually(lambda: server.get("/v1/models/growing/versions/1").json()["model_version_status"][0]["state"] == "END")
    give(page, picture(tmp_path / "a.png", "green"))
    expect(card(page, "a.png").locator(".origin")).to_contain_text("growing, version 2")
    expect(page.locator("#summary")).to_contain_text("Version 2")
    log.expected("404")


# ---- what a person can do


TRANSFER = """([type, name, encoded]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  if (name) transfer.items.add(new File([bytes], name));
  const init = { bubbles: true, cancelable: true };
  const event = type === "paste" ? new ClipboardEvent(type, { ...init, clipboardData: transfer })
    : new DragEvent(type, { ...init, dataTransfer: transfer });
  document.getElementById("drop").dispatchEvent(event);
}"""


def bring(page: Page, how: str, file: Path | None) -> None:
    encoded = base64.b64encode(file.read_bytes()).decode() if file else ""
    page.evaluate(TRANSFER, [how, file.name if file else "", encoded])


@needs_chromium
def test_pictures_are_dropped_and_pasted(opened: Opened, server: Running, tmp_path: Path) -> None:
    page = opened()
    for how, label in (("drop", "red"), ("paste", "blue")):
        file = picture(tmp_path / f"{label}.png", label)
        bring(page, how, file)
        settled(page)
        expect(card(page, file.name).locator(".label strong")).to_have_text(labelled(server, file))
    expect(page.locator(".card h3")).to_have_text(["blue.png", "red.png"])  # the newest first


@needs_chromium
def test_a_drop_that_holds_no_file_is_told(opened: Opened) -> None:
    page = opened()
    bring(page, "drop", None)
    expect(page.get_by_role("alert")).to_contain_text("That was no file")
    expect(page.locator(".card")).to_have_count(0)


@needs_chromium
def test_the_keyboard_alone_does_it_all(opened: Opened, tmp_path: Path) -> None:
    page, file = opened(), picture(tmp_path / "red.png", "red")
    choose = page.get_by_role("button", name="Choose photos")
    page.on("filechooser", lambda chooser: None)  # from now on: asked for just before the key, it can come too late
    expect(page.get_by_role("region", name="The model")).to_be_visible()
    order = []
    for _ in range(3):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert order == ["model", "choose", "camera"]
    page.keyboard.press("Shift+Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(str(file))
    settled(page)
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^red\.png: \w+, 0\.\d{3}$"))
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Clear")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator(".card")).to_have_count(0)
    expect(choose).to_be_focused()


@needs_chromium
def test_the_camera_takes_a_photo_and_is_let_go(opened: Opened) -> None:
    page = opened(permissions=["camera"])
    page.get_by_role("button", name="Use the camera").press("Enter")
    dialog = page.get_by_role("dialog", name="Camera")
    expect(dialog.get_by_role("button", name="Take the photo")).to_be_focused()
    running = page.evaluate_handle("document.querySelector('video').srcObject.getTracks()[0]")
    page.wait_for_timeout(500)  # for the first frame
    page.keyboard.press("Enter")
    settled(page)
    expect(card(page, "camera 1.jpg").locator(".label strong")).not_to_be_empty()
    expect(dialog).to_be_hidden()
    assert running.evaluate("track => track.readyState") == "ended"
    expect(page.get_by_role("button", name="Use the camera")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(".card")).to_have_count(1)


@needs_chromium
def test_where_the_camera_is_not_allowed_the_page_says_so(opened: Opened, server: Running, log: Log) -> None:
    refused, insecure = opened(), opened(f"{server.url.replace('127.0.0.1', 'orchard.example')}/")
    for page, words in ((refused, "may not use the camera"), (insecure, "only over https or on this machine itself")):
        page.get_by_role("button", name="Use the camera").click()
        expect(page.get_by_role("alert")).to_contain_text(words)


@needs_chromium
def test_a_key_is_asked_for_once_and_kept_nowhere(opened: Opened, locked: Running, log: Log, tmp_path: Path) -> None:
    page = opened(f"{locked.url}/")
    dialog = page.get_by_role("dialog", name="This server asks for an API key")
    for wrong in (True, False):
        expect(dialog.get_by_label("API key")).to_be_focused()
        page.keyboard.type("guess" if wrong else KEY)
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_be_visible(visible=wrong)
    expect(page.get_by_role("heading", level=1)).to_have_text("fruit")
    give(page, *(picture(tmp_path / f"{label}.png", label) for label in ("red", "blue")))
    expect(page.locator(".answer:visible")).to_have_count(2)
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    page.reload()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_have_text("This server asks for an API key.")
    log.expected("401")


@needs_chromium
def test_a_server_that_cannot_be_reached_is_asked_again_when_the_person_says_so(
    opened: Opened, server: Running, log: Log, tmp_path: Path
) -> None:
    page, file = opened(), picture(tmp_path / "red.png", "red")
    expect(page.get_by_role("region", name="The model")).to_be_visible()
    page.context.set_offline(True)
    give(page, file)
    expect(card(page, "red.png").locator(".error")).to_contain_text("be reached, or it closed the connection")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try red.png again").press("Enter")
    expect(card(page, "red.png").locator(".label strong")).to_have_text(labelled(server, file))
    expect(page.get_by_role("heading", name="red.png")).to_be_focused()
    log.expected("ERR_INTERNET_DISCONNECTED")


# ---- for everybody


@needs_chromium
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_axe_finds_nothing_that_keeps_people_out(
    opened: Opened, log: Log, tmp_path: Path, color_scheme: str, width: int
) -> None:
    page = opened(color_scheme=color_scheme, width=width)
    (tmp_path / "notes.txt").write_text("no picture")
    give(page, picture(tmp_path / "red.png", "red"), tmp_path / "notes.txt", picture(tmp_path / "blue.png", "blue"))
    page.get_by_role("button", name="Where does it look? red.png").click()
    expect(card(page, "red.png").locator(".map figcaption")).not_to_be_empty()
    found = Axe().run(page).response
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []
    assert "color-contrast" in {each["id"] for each in found["passes"]}  # AA, in this colour scheme
    log.expected("400")


@needs_chromium
def test_a_screen_reader_finds_names_and_roles(opened: Opened, tmp_path: Path) -> None:
    page = opened()
    give(page, picture(tmp_path / "red.png", "red"))
    tree = page.locator("main").aria_snapshot().replace('status: "', "status: ")
    for line in (
        'region "Ask about pictures"',
        'button "Choose photos"',
        'button "Use the camera"',
        "status: red.png: ",
        'region "Answers"',
        'heading "red.png" [level=3]',
        'img "The photo red.png"',
        f'img "red.png as the model sees it, {SHOWN_SIZE}"',
        "listitem: green 0.",
        'region "The model"',
        "term: Balanced accuracy",
    ):
        assert line in tree, line


@needs_chromium
def test_a_phones_screen_never_scrolls_sideways(opened: Opened, log: Log, tmp_path: Path) -> None:
    page = opened(width=375)
    long = picture(tmp_path / f"{'very_long_name_' * 12}.png", "red")
    (tmp_path / f"{'n' * 180}.txt").write_text("no picture")
    give(page, long, tmp_path / f"{'n' * 180}.txt")
    page.get_by_role("button", name="Where does it look?", exact=False).click()
    expect(page.locator(".map figcaption")).not_to_be_empty()
    wide = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert max(page.evaluate(wide)) <= 375
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 44  # what a thumb meets
    log.expected("400")


@needs_chromium
def test_on_a_phone_the_answer_comes_into_view(opened: Opened, tmp_path: Path) -> None:
    page = opened(width=375)
    page.set_viewport_size({"width": 375, "height": 560})
    give(page, picture(tmp_path / "red.png", "red"))
    expect(card(page, "red.png").locator(".label")).to_be_in_viewport(ratio=1)


@needs_chromium
def test_nothing_moves_for_those_who_do_not_want_it(opened: Opened, tmp_path: Path) -> None:
    for motion, moves in (("reduce", False), ("no-preference", True)):
        page = opened(reduced_motion=motion)
        give(page, picture(tmp_path / "red.png", "red"))
        duration = page.locator(".bar span").first.evaluate("bar => getComputedStyle(bar).transitionDuration")
        assert (duration != "0s") == moves
