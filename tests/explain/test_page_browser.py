"""The page in a real browser: its numbers, its clicks, what it asks of the network, how it looks."""

import base64
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import numpy_attention as na
from numpy_attention.data.batch import BOS
from numpy_attention.data.vocabulary import SPECIAL, Vocabulary
from numpy_attention.explain.page import write_page
from numpy_attention.explain.recording import sentence
from numpy_attention.explain.shipped import shipped

SOURCE = ["f", "e", "h", "a", "c", "d"]
FIGURE = Path(__file__).parents[2] / "docs" / "figures" / "explain_page.png"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    models = shipped()
    write_page(path, models.attention, SOURCE, SOURCE[::-1], models.vanilla)
    return path


def opened(browser, path, **options):
    browser.open(path, **options)
    for _ in range(200):
        if browser.run("return document.documentElement.dataset.ready"):
            return
        time.sleep(0.05)
    raise AssertionError(f"the page has not started: {browser.console()}")


def panel(browser):
    return browser.run("return $('panel').innerText")


def test_a_hundred_changes_of_words_and_weights_give_the_model_s_loss_and_gradients(browser, written):
    opened(browser, written)
    run, rng, moment = shipped().attention[200], np.random.default_rng(0), 2
    params = {name: value.astype(float) for name, value in run.params.items()}
    for _ in range(100):
        source, target = rng.integers(3, len(run.source_vocabulary), (2, len(SOURCE))).tolist()
        edits = {}
        for name, value in params.items():
            entries = rng.integers(0, value.size, 3).tolist()
            edits[name] = dict(zip(entries, (value.flat[entries] + rng.standard_normal(3)).tolist(), strict=True))
        script = """
            [state.source, state.target, state.edits, state.moment] = arguments;
            compute();
            return Object.fromEntries(Object.keys(shown.trace.outputs).map(name => [name, Array.from(output(shown, name))]));
        """
        found = browser.run(script, [*source, 0], [*target, 2], edits, moment)
        changed = {name: value.copy() for name, value in params.items()}
        for name, entries in edits.items():
            for entry, value in entries.items():
                changed[name].flat[entry] = value
        loss, gradients = run.model.loss_and_gradients(changed, sentence(source, target))
        scale = max(np.abs(value).max() for value in gradients.values())
        assert abs(found["loss"][0] - loss) <= 1e-12 * max(1, loss)
        for name, value in gradients.items():
            np.testing.assert_allclose(found[f"d{name}"], value.ravel(), rtol=0, atol=1e-12 * scale)
    assert browser.run("return inputsOf(0, 2).target_input[0]") == BOS
    assert browser.console() == []


def test_the_page_asks_for_its_own_file_alone_and_its_console_is_empty(browser, written):
    opened(browser, written)
    for stage in range(browser.run("return stages().length")):
        browser.run("setStage(arguments[0])", stage)
    for variant in (1, 2, 0):
        browser.run("$('variants').querySelectorAll('input')[arguments[0]].click()", variant)
        for which in ("value", "gradient"):
            browser.run(
                "blocks.forEach(each => each.cells[arguments[0]].length && choose(each, arguments[0], 0))", which
            )
    for k in range(browser.run("return data.mistakes.length")):
        browser.run("state.mistake = arguments[0]; update()", k)
    assert browser.requests() == [written.resolve().as_uri()]
    assert browser.console() == []


def test_keys_and_buttons_walk_forwards_and_backwards(browser, written):
    from selenium.webdriver import Keys

    opened(browser, written)
    browser.find("body").click()
    titles = []
    for _ in range(browser.run("return stages().length")):
        titles.append(browser.run("return stages()[state.stage].key"))
        browser.press(Keys.ARROW_RIGHT)
    assert titles == (
        [
            "h",
            "s_0",
            "keys",
            "query",
            "e",
            "alpha",
            "c",
            "s",
            "logits",
            "loss",
            "dlogits",
            "ds",
            "dc",
            "dalpha",
            "de",
            "dquery",
            "ds_before",
            "dh",
        ]
    )
    browser.press(Keys.ARROW_LEFT, Keys.ARROW_DOWN)
    assert browser.run("return [stages()[state.stage].key, state.step]") == ["ds_before", 2]
    browser.find("#back").click()
    browser.find("#play").click()
    assert browser.run("return [stages()[state.stage].key, $('play').textContent]") == ["dquery", "Pause"]
    browser.press(" ")


@pytest.mark.parametrize(
    ("name", "number", "step", "said"),
    [
        ("query", 0, 2, ["query2[0]", "alignment.W", 's @ p["W"]']),  # what is the query? made from s_1
        ("v", 0, 2, ["alignment.v[0]", 'e.append(product(z_block, p["v"]))']),  # what is v for?
        ("alpha", 3, 2, ["The sum", "α2,1", "α2,6", "exp("]),  # which axis is the softmax over?
        ("c", 0, 2, ["α2,5 × h5[0]", "return (alpha[:, None] @ h)[:, 0]"]),  # what is a context?
    ],
)
def test_a_click_answers_what_people_ask(browser, written, name, number, step, said):
    opened(browser, written)
    browser.run("setStep(arguments[0]); setStage(99)", step)
    chosen = "const all = blocks.filter(each => each.name === arguments[0]); all[Math.min(3, all.length - 1)]"
    browser.run(f"{chosen}.cells.value[arguments[1]].click()", name, number if name != "alpha" else 0)
    text = panel(browser)
    assert all(part in text for part in said), text
    assert "The same up to rounding" in text


def test_what_an_array_held_before_it_was_changed_in_place_has_another_name(browser, written):
    opened(browser, written)
    browser.run("setStep(2); choose(blocks.find(each => each.name === 'alpha'), 'value', 0)")
    browser.run(
        "[...$('panel').querySelectorAll('.link')].find(each => each.textContent === 'exp(…) for α2,5').click()"
    )
    text = panel(browser)
    assert "exp(…) for α2,5 = 1\n" in text
    assert "alpha /= alpha.sum(axis=-1, keepdims=True)" in text
    assert "complex step" not in text
    assert "return (alpha[:, None] @ h)[:, 0]" not in text  # it reads what came after


def test_the_context_s_gradient_goes_to_every_encoder_state(browser, written):
    opened(browser, written)
    browser.run("setStage(99); choose(blocks.find(each => each.name === 'c'), 'gradient', 0)")
    assert "dh_context = cache.alpha.transpose(1, 2, 0) @ dc" in panel(browser)
    assert "reads every encoder state, so each receives" in browser.run("return $('told').innerText")
    browser.run("choose(blocks.find(each => each.name === 'h'), 'gradient', 0)")
    browser.run("[...$('panel').querySelectorAll('.link')].find(each => each.textContent === 'context').click()")
    assert "α7,1 × ∂L/∂c7[0]" in panel(browser)


def test_padded_positions_get_no_weight_and_no_gradient(browser, written):
    opened(browser, written)
    browser.run("setStage(99)")
    script = "return blocks.filter(each => each.name === arguments[0]).at(-1).cells[arguments[1]].map(each => each.dataset.number)"
    assert browser.run(script, "alpha", "value") == ["0"]
    for name in ("e", "h", "keys"):
        assert {abs(float(each)) for each in browser.run(script, name, "gradient")} == {0.0}
    assert abs(float(browser.run(script, "e", "value")[0])) > 0
    browser.run("choose(blocks.filter(each => each.name === 'h').at(-1), 'gradient', 0)")
    assert "A padded position: nothing reads this state" in panel(browser)


def test_every_gradient_on_the_page_is_the_complex_step(browser, written):
    opened(browser, written)
    script = """
        state.step = 3; state.moment = 1; update();
        const scale = Math.max(...Object.keys(shown.trace.outputs).filter(n => n !== "loss").map(n => Math.max(...output(shown, n).map(Math.abs))));
        let worst = 0, count = 0;
        for (const each of blocks) {
            each.cells.gradient.forEach((cell, i) => {
                const gradient = each.at(shown, "gradient"), value = each.at(shown, "value");
                if (gradient.t === state.source.length - 1) return;
                const step = shown.provenance.complexStep({buffer: value.buffer, at: value.at[i]}, each.name === "h");
                worst = Math.max(worst, Math.abs(step - Number(cell.dataset.number)) / scale);
                count += 1;
            });
        }
        return [worst, count];
    """
    browser.driver.set_script_timeout(120)
    worst, count = browser.run(script)
    assert count > 300
    assert worst < 1e-12


def test_a_planted_mistake_turns_gradients_red_and_a_click_shows_that_they_differ(browser, written):
    opened(browser, written)
    names = browser.run("return data.mistakes.map(each => each.name)")
    for k, name in enumerate(names):
        browser.run("state.mistake = arguments[0]; state.stage = stages().length - 1; update()", k)
        told = browser.run("return $('verdict').innerText")
        assert f"Planted: {name}." in told
        assert "changes no gradient" not in told
    browser.run("state.mistake = arguments[0]; update()", names.index("query path dropped"))
    assert browser.run("return document.querySelectorAll('.block.wrong').length") > 5
    browser.run("setStep(1); choose(blocks.find(each => each.name === 's'), 'gradient', 0)")
    assert "They differ" in panel(browser)
    browser.run("state.mistake = -1; update()")
    assert browser.run("return document.querySelectorAll('.block.wrong').length") == 0


def test_a_weight_can_be_dragged_and_every_number_follows(browser, written):
    from selenium.webdriver import ActionChains

    opened(browser, written)
    browser.run("$('weights').open = true")
    before = browser.run(
        "return [output(shown, 'loss')[0], blocks.find(each => each.name === 'c').cells.value[0].dataset.number]"
    )
    cell = browser.find("#weight .cell")
    ActionChains(browser.driver).click_and_hold(cell).move_by_offset(0, -40).move_by_offset(0, -40).release().perform()
    after = browser.run(
        "return [output(shown, 'loss')[0], blocks.find(each => each.name === 'c').cells.value[0].dataset.number]"
    )
    assert before[0] != after[0]
    assert before[1] != after[1]
    browser.run(
        "[...$('weight').querySelectorAll('button')].find(each => each.textContent === 'Undo all changes').click()"
    )
    assert browser.run("return output(shown, 'loss')[0]") == before[0]


def test_words_with_markup_are_shown_as_text(browser, tmp_path):
    words = ["<script>document.title='taken'</script>", '"', "<b>", "x' onclick='"]
    run = shipped().attention[0]
    vocabulary = Vocabulary((*SPECIAL, *words))
    model = replace(run.model, source_vocabulary=len(vocabulary), target_vocabulary=len(vocabulary))
    run = replace(run, model=model, params=model.init(0), source_vocabulary=vocabulary, target_vocabulary=vocabulary)
    write_page(tmp_path / "page.html", {0: run}, words, words[::-1])
    opened(browser, tmp_path / "page.html")
    assert browser.run("return document.title").startswith("Attention, step by step: <script>")
    assert words[0] in browser.run("return $('board').innerText")
    assert browser.run("return document.querySelectorAll('body script').length") == 2
    assert browser.console() == []


@pytest.mark.parametrize("alignment", ["location", "stacked", "general", "dot", "none"])
@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_other_models_have_pages_whose_gradients_are_the_complex_step(browser, tmp_path, alignment, cell):
    run = shipped().attention[0]
    model = replace(
        run.model, alignment=alignment, cell=cell, bidirectional=alignment == "general", hidden_size=6, encoder_size=6
    )
    write_page(tmp_path / "page.html", {0: replace(run, model=model, params=model.init(0))}, SOURCE[:3], SOURCE[:2])
    opened(browser, tmp_path / "page.html")
    browser.run(
        "blocks.forEach(each => ['value', 'gradient'].forEach(which => each.cells[which].length && choose(each, which, 0)))"
    )
    script = """
        let worst = 0;
        for (const each of blocks) each.cells.gradient.forEach((cell, i) => {
            const value = each.at(shown, "value"), step = shown.provenance.complexStep({buffer: value.buffer, at: value.at[i]}, each.name === "h");
            if (each.at(shown, "gradient").t !== state.source.length - 1) worst = Math.max(worst, Math.abs(step - Number(cell.dataset.number)));
        });
        return worst;
    """
    assert browser.run(script) < 1e-14
    assert browser.console() == []


CONTRAST = """
    const rgb = colour => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
    const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
    const ground = node => {
        if (!node) return [255, 255, 255, 1];
        const style = getComputedStyle(node), fill = style.backgroundImage.match(/rgba?\\([^)]*\\)/);
        const own = over(rgb(style.backgroundColor), rgb(style.backgroundColor)[3] < 1 ? ground(node.parentElement) : [0, 0, 0]);
        return fill ? over(rgb(fill[0]), own) : own;
    };
    const light = colour => colour.slice(0, 3).map(x => x / 255)
        .reduce((sum, x, k) => sum + [.2126, .7152, .0722][k] * (x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4), 0);
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
    while (texts.nextNode()) {
        const text = texts.currentNode.textContent.trim(), node = texts.currentNode.parentElement;
        if (!text || node.closest("script, option, noscript") || !node.checkVisibility({visibilityProperty: true})) continue;
        const style = getComputedStyle(node), back = ground(node);
        const front = over(rgb(node.namespaceURI.endsWith("svg") ? style.fill : style.color), back);
        const [a, b] = [light(front), light(back)], ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < 4.5) found.push([text, ratio.toFixed(2), node.className.baseVal ?? node.className]);
    }
    return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_either_scheme(browser, written, scheme):
    opened(browser, written, scheme=scheme)
    assert browser.run(CONTRAST) == []
    browser.run("$('weights').open = true; state.mistake = 2; setStage(99); update()")
    browser.run("choose(blocks.find(each => each.name === 'keys'), 'gradient', 0)")
    assert browser.run(CONTRAST) == []


def test_the_keyboard_reaches_every_number_and_comes_back(browser, written):
    from selenium.webdriver import Keys

    opened(browser, written)
    focused = "return document.activeElement.getAttribute('aria-label')"
    assert browser.run("return $('board').querySelectorAll('.cell[tabindex=\"0\"]').length") == 1
    browser.run("setStage(99); blocks.find(each => each.name === 'h').cells.value[0].focus()")
    before = browser.run("return [state.stage, state.step]")
    browser.press(*[Keys.ARROW_RIGHT] * 4, *[Keys.ARROW_DOWN] * 4)
    assert browser.run(focused).startswith("dL/dh 2[0]: ")
    assert browser.run("return [state.stage, state.step]") == before
    seen = {name for name in iter(lambda: press(browser, Keys.ARROW_DOWN, focused), None)}
    assert {name.split(":")[0] for name in seen} >= {
        "key 2[0]",
        "dL/dkey 2[12]",
        "e 1,2",
        "dL/dalpha 1,2",
    }
    browser.press(Keys.ENTER)
    assert browser.run("return document.activeElement.id") == "panel"
    browser.press(Keys.ESCAPE)
    assert browser.run("return document.activeElement.matches('.cell')")
    assert "Click a number" in panel(browser)


def press(browser, key, script):
    """What has the focus after a key; None if that is what had it before."""
    before = browser.run(script)
    browser.press(key)
    after = browser.run(script)
    return None if after == before else after


def test_the_focus_stays_when_controls_are_made_anew(browser, written):
    from selenium.webdriver import Keys

    opened(browser, written)
    for name, key in [
        ("moment", Keys.ARROW_LEFT),
        ("variant-0", Keys.ARROW_RIGHT),
        ("step-2", Keys.ENTER),
        ("film", " "),
    ]:
        browser.run("$(arguments[0]).focus()", name)
        browser.press(key)
        assert browser.run("return document.activeElement.id") == name.replace("variant-0", "variant-1")
    assert browser.run("return $('film').textContent") == "Stop film"
    browser.press(" ")
    assert browser.run("return [$('film').textContent, state.moment]") == ["Play film", 0]


def test_one_short_line_tells_a_listener_what_has_changed(browser, written):
    opened(browser, written)
    assert browser.run("return document.querySelectorAll('[aria-live], [role=status], output').length") == 1
    browser.run("setStage(5)")
    assert browser.run("return $('status').textContent") == "Stage 6 of 18: Attention weights"
    browser.run("setStep(3)")
    assert browser.run("return $('status').textContent") == "Target word 3: a"


def test_the_film_shows_every_moment_and_ends(browser, written):
    opened(browser, written)
    browser.run("window.setInterval = (step) => { window.step = step; return 1 }; window.clearInterval = () => {}")
    browser.run("film(true)")
    seen = [browser.run("return [state.moment, $('moments').innerText.includes('Stop film')]")]
    while seen[-1][1]:
        browser.run("step()")
        seen.append(browser.run("return [state.moment, $('moments').innerText.includes('Stop film')]"))
    assert seen == [[0, True], [1, True], [2, True], [3, False]]


@pytest.mark.parametrize("width", [400, 1400])
def test_long_words_many_words_and_print_fit(browser, tmp_path, width):
    words = ["internationalization", "counterrevolutionary", "electroencephalograp", "Donaudampfschifffahrt"]
    run = shipped().attention[0]
    vocabulary = Vocabulary((*SPECIAL, *words))
    model = replace(run.model, source_vocabulary=len(vocabulary), target_vocabulary=len(vocabulary), alignment="dot")
    run = replace(run, model=model, params=model.init(0), source_vocabulary=vocabulary, target_vocabulary=vocabulary)
    for count in (1, 5):
        write_page(tmp_path / "page.html", {0: run}, words * count, words * count)
        opened(browser, tmp_path / "page.html", width=width)
        browser.run("setStage(99); $('weights').open = true; choose(blocks[0], 'gradient', 0)")
        assert browser.run("return document.documentElement.scrollWidth") <= width
        if width == 1400:
            opened(browser, tmp_path / "page.html", width=1047, media="print")
            browser.run("setStage(99)")
            assert browser.run("return document.documentElement.scrollWidth") <= 1047


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_it_fits_the_window_and_has_a_name_for_everything_that_can_be_clicked(
    browser, written, tmp_path, width, scheme
):
    opened(browser, written, width=width, scheme=scheme)
    browser.run("setStep(2); setStage(99); choose(blocks.find(each => each.name === 'c'), 'value', 0)")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    nameless = """
        return [...document.querySelectorAll("button, select, input")].filter(each =>
            !each.textContent.trim() && !each.getAttribute("aria-label") && !each.labels?.length).length
    """
    assert browser.run(nameless) == 0
    browser.screenshot(tmp_path / "page.png")


def test_the_figure_of_the_readme_shows_weights_numbers_gradients_lanes_and_where_one_comes_from(browser, tmp_path):
    """``WRITE_FIGURES=1`` writes it."""
    models = shipped()
    write_page(tmp_path / "page.html", models.attention, ["d", "e", "a"], ["a", "e", "d"], models.vanilla)
    opened(browser, tmp_path / "page.html", width=1000)
    browser.run("setStep(2); setStage(99); choose(blocks.filter(each => each.name === 'h')[1], 'gradient', 1)")
    top = browser.run("return $('walk').getBoundingClientRect().top + scrollY - 8")
    height = browser.run("return document.querySelector('.decoder').getBoundingClientRect().top + scrollY - 8") - top
    clip = {"x": 0, "y": top, "width": 1000, "height": height, "scale": 1.8}
    taken = browser.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
    assert browser.run("return document.querySelectorAll('.cell.chosen').length") == 1
    assert 600 < height < 1000
    if os.environ.get("WRITE_FIGURES"):
        FIGURE.write_bytes(base64.b64decode(taken["data"]))


def test_the_page_works_in_the_frame_of_a_notebook(browser, tmp_path):
    (tmp_path / "notebook.html").write_text(
        f"<!doctype html><link rel=icon href=data:,>{na.explain()._repr_html_()}", "utf-8"
    )
    browser.open(tmp_path / "notebook.html")
    ready = "return document.querySelector('iframe').contentDocument.documentElement.dataset.ready"
    for _ in range(200):
        if browser.run(ready):
            break
        time.sleep(0.05)
    assert (
        browser.run(f"{ready} && document.querySelector('iframe').contentDocument.querySelectorAll('.cell').length")
        > 100
    )
    assert browser.console() == []
