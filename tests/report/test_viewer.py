"""The viewer in the page, driven in a real browser from a file on disk."""

from __future__ import annotations

import html
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from synth.errors import SynthError
from synth.report import niivue as niivue_module
from synth.report import report_html
from synth.report.inline import close_up, inline_labels, inline_volume, viewer_grid
from synth.report.niivue import niivue
from synth.report.viewer import viewer_data
from synth.volume import Geometry, Mask, Volume, read_volume

READY = "document.getElementById('viewer')?.dataset.ready"


def _driver() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synth_tests_browser", Path(__file__).parent / "browser.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _opened(page: str, folder: Path, *flags: str):
    driver = _driver()
    program = driver.executable()
    if program is None:
        without = pytest.fail if os.environ.get("SYNTH_REQUIRE_BROWSER") else pytest.skip
        without("no Chromium on this machine; set SYNTH_BROWSER to one")
    (folder / "report.html").write_text(page, "utf-8")
    browser = driver.Browser(program, folder / "profile", flags=flags)
    browser.open(folder / "report.html")
    return browser


@pytest.fixture(scope="module")
def browser(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """The report of the toy patient, open, its viewer drawn."""
    opened = _opened(page, tmp_path_factory.mktemp("page"))
    try:
        opened.wait(READY)
        yield opened
    finally:
        opened.close()


def _cursor(browser) -> np.ndarray:
    return np.array(browser.value("document.getElementById('viewer-at').dataset.mm").split(), float)


def _go(browser, key: str) -> np.ndarray:
    browser.click(f'.places [data-place="{key}"]')
    browser.wait(f"document.getElementById('viewer').dataset.place === '{key}'")
    return _cursor(browser)


def test_the_viewer_runs_from_a_file_without_any_network(browser):
    assert browser.value(READY) == "yes"
    assert browser.errors == []
    assert browser.requests
    assert all(url.startswith(("file:", "data:", "blob:")) for url in browser.requests)
    assert browser.value("getComputedStyle(document.querySelector('.still')).display") == "none"


@pytest.mark.parametrize("view", ["input", "render", "residual"])
def test_every_view_is_drawn(browser, view):
    pixels = browser.picture(f'canvas[data-view="{view}"]').astype(float)
    assert pixels.shape[0] > 200
    assert pixels.mean(axis=2).std() > 15
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_clicking_a_finding_moves_the_cursor_there_in_every_view(browser, report):
    kidney = report.findings.flagged[0]
    lesion = report.missing[0]
    for finding, key in ((lesion, f"region:{lesion.id}"), (kidney, f"entity:{kidney.id}")):
        np.testing.assert_allclose(_go(browser, key), finding.focus_mm, atol=0.6)


def test_a_row_of_the_table_moves_the_cursor_too(browser, report):
    spleen = next(e for e in report.entities if e.id == "spleen")
    browser.click('#entities [data-place="entity:spleen"]')
    browser.wait("document.getElementById('viewer').dataset.place === 'entity:spleen'")
    np.testing.assert_allclose(_cursor(browser), spleen.focus_mm, atol=0.6)


def test_a_click_into_one_view_moves_the_others(browser, report):
    _go(browser, f"entity:{report.findings.flagged[0].id}")
    before, other = _cursor(browser), browser.picture('canvas[data-view="residual"]')
    browser.value("document.querySelector('#viewer').scrollIntoView()")
    box = browser.value("(r => [r.x, r.y, r.width])(document.querySelector('canvas').getBoundingClientRect())")
    browser.press(box[0] + 0.4 * box[2], box[1] + 0.45 * box[2])
    after = _cursor(browser)
    assert np.abs(after - before).max() > 10
    assert (browser.picture('canvas[data-view="residual"]') != other).any()


def test_with_and_without_the_entity_are_different_pictures(browser, report):
    _go(browser, f"entity:{report.findings.flagged[0].id}")
    pictures = []
    for what in ("with", "without"):
        browser.click(f'[data-drawn="{what}"]')
        browser.wait(f"document.querySelector('[data-drawn={what}]').getAttribute('aria-pressed') === 'true'")
        pictures.append(browser.picture('canvas[data-view="render"]').astype(int))
        assert "kidney right" in browser.value("document.querySelector('[data-caption=render]').textContent")
    changed = np.abs(pictures[0] - pictures[1]).max(axis=2) > 40
    assert 0.001 < changed.mean() < 0.3


def test_outlines_can_be_taken_away(browser, report):
    _go(browser, f"entity:{report.findings.flagged[0].id}")
    red = []
    for _ in range(2):
        pixels = browser.picture('canvas[data-view="input"]').astype(int)
        red.append(int(((pixels[..., 0] - pixels[..., 1]) > 60).sum()))
        browser.click("#viewer-outlines")
    assert red[0] > 30
    assert red[1] < 0.2 * red[0]


def test_the_table_sorts_and_filters(browser):
    names = "[...document.querySelectorAll('#entities tbody tr')].filter(r => !r.hidden).map(r => r.cells[1].innerText)"
    browser.click("#entities th:nth-child(2) button")
    ordered = browser.value(names)
    assert ordered == sorted(ordered)
    browser.click("#entities th:nth-child(2) button")
    assert browser.value(names) == sorted(ordered, reverse=True)
    browser.click('[data-verdict="hallucinated"]')
    assert browser.value(names) == ["kidney right"]
    browser.click('button[data-verdict="all"]')
    assert len(browser.value(names)) == len(ordered)


def test_without_webgl_the_page_says_so_and_keeps_its_figures(page, tmp_path):
    opened = _opened(page, tmp_path, "--disable-3d-apis")
    try:
        assert opened.wait(READY) == "no"
        assert "WebGL" in opened.value("document.getElementById('viewer-note').textContent")
        assert opened.value("getComputedStyle(document.getElementById('viewer')).display") == "none"
        assert opened.value("document.querySelector('.still').getBoundingClientRect().height") > 100
    finally:
        opened.close()


def test_without_the_library_the_page_is_static_and_says_what_to_install(report, monkeypatch):
    monkeypatch.setattr(niivue_module, "LIBRARY", "no-such-library")
    niivue.cache_clear()
    try:
        static = report_html(report)
    finally:
        niivue.cache_clear()
    assert "parse-synth[viewer]" in static
    assert "data-place" not in static
    assert 'type="module"' not in static
    assert static.count('<svg class="slice"') > 10


def test_without_a_browser_its_tests_skip_unless_one_is_required(tmp_path, monkeypatch):
    monkeypatch.delenv("SYNTH_BROWSER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SYNTH_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"):
        _opened("", tmp_path)
    monkeypatch.setenv("SYNTH_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"):
        _opened("", tmp_path)


def test_the_page_carries_the_licence_of_the_viewer_that_it_carries(page):
    (said,) = re.findall(r'<pre class="licence">(.*?)</pre>', page, re.DOTALL)
    assert html.unescape(said).strip() == niivue().licence.strip()
    assert "Redistributions" in said


def test_the_library_is_read_with_its_licence():
    found = niivue()
    assert "BSD" in found.licence
    assert re.search(r"\bNiivue\b", found.module[-3000:])


def test_a_library_laid_out_otherwise_is_refused_in_words():
    with pytest.raises(SynthError, match="no ES module"):
        niivue_module._module("export default {}", "9.9")


def test_what_the_viewer_shows_is_what_was_audited(report, tmp_path):
    import base64

    data = viewer_data(report)
    (tmp_path / "input.nii.gz").write_bytes(base64.b64decode(data["volumes"]["input"]["data"]))
    shown = read_volume(tmp_path / "input.nii.gz", modality="CT")
    assert shown.geometry.matches(report.image.geometry)
    np.testing.assert_allclose(shown.array, report.image.array, atol=0.5)
    wanted = {f"entity:{e.id}" for e in report.entities if e.id in report.parse.masks}
    wanted |= {f"region:{m.id}" for m in report.missing}
    assert wanted <= set(data["places"])


def test_a_counterfactual_differs_from_the_image_inside_its_region_only(report):
    renders = report.renders(report.findings.flagged[0].id)
    with_it, without = close_up(renders)
    start = np.rint(report.on_grid.geometry.voxel(with_it.geometry.world((0, 0, 0)))).astype(int)
    window = tuple(slice(s, s + n) for s, n in zip(start, with_it.shape, strict=True))
    for drawn in (with_it, without):
        changed = drawn.array != report.on_grid.array[window]
        assert changed.any()
        assert not (changed & ~renders.region.dense()[window]).any()


def test_what_is_missing_is_shown_with_it_and_without_it(report):
    places = viewer_data(report)["places"]
    assert report.missing
    for finding in report.missing:
        assert {"with", "without"} <= set(places[f"region:{finding.id}"])


def test_a_large_noisy_image_stays_small_in_the_page():
    rng = np.random.default_rng(0)
    shape = (300, 300, 120)
    noise = rng.integers(-1000, 1000, shape).astype(np.float32)
    volume = Volume(noise, Geometry.regular(shape, (0.8, 0.8, 2.5)), "CT", "HU")
    grid = viewer_grid(volume.geometry)
    assert np.prod(grid.shape) <= 4_000_000
    assert len(inline_volume(volume, 1.0).data) < 9_000_000


def test_where_masks_overlap_the_later_one_is_seen(tmp_path):
    import base64

    from synth.volume import read_labels

    geometry = Geometry.regular((12, 12, 12), 3.0)
    outer = Mask.from_box(geometry.shape, (2, 2, 2), np.ones((8, 8, 8), bool))
    inner = Mask.from_box(geometry.shape, (4, 4, 4), np.ones((3, 3, 3), bool))
    (tmp_path / "labels.nii.gz").write_bytes(base64.b64decode(inline_labels([outer, inner], geometry).data))
    labels = read_labels(tmp_path / "labels.nii.gz").labels
    assert (labels == 2).sum() == inner.voxels
    assert (labels == 1).sum() == outer.voxels - inner.voxels
