// Drives NiiVue, whose module stands before this in the same script: three linked views, moved by the findings.
{
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const root = document.getElementById("viewer");
  const readout = document.getElementById("viewer-at");
  const OPAQUE = { R: [0, 255], G: [0, 255], B: [0, 255], A: [255, 255], I: [0, 255] };
  const HIDDEN = 0, SHOWN = 1;
  const INSIDE = 0.14, OUTLINE = 0.95; // how opaque an entity and its outline are
  const LABELS = 1002; // NIFTI_INTENT_LABEL
  const SLICES = { axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL, all: SLICE_TYPE.MULTIPLANAR };
  const options = {
    isRadiologicalConvention: true, sagittalNoseLeft: true, isSliceMM: true, sliceType: SLICE_TYPE.AXIAL,
    multiplanarShowRender: SHOW_RENDER.NEVER, multiplanarLayout: MULTIPLANAR_TYPE.COLUMN, multiplanarPadPixels: 2,
    backColor: [0, 0, 0, 1], crosshairColor: [0.08, 0.78, 1, 0.8], crosshairWidth: 0.7, crosshairWidthUnit: "mm",
    crosshairGap: 6, fontColor: [0.8, 0.85, 0.9, 1], fontMinPx: 11, dragAndDropEnabled: false, scrollRequiresFocus: true,
    loadingText: "", logLevel: "error", viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "",
  };
  const state = { window: 0, place: null, drawn: "render", zoom: 1, moving: false };
  const views = {};

  const rgb = (css) => [1, 3, 5].map((i) => parseInt(css.slice(i, i + 2), 16));

  function labelColours() {
    const colours = data.entities.map((entity) => rgb(entity.colour));
    const channel = (i) => [0, ...colours.map((colour) => colour[i])];
    const names = ["", ...data.entities.map((entity) => entity.name)];
    return { R: channel(0), G: channel(1), B: channel(2), A: [0, ...colours.map(() => 255)], I: names.map((_, i) => i), labels: names };
  }

  async function load(volume, settings) {
    const { step } = volume;
    const scaled = { ...settings };
    for (const key of ["cal_min", "cal_max"]) if (key in scaled) scaled[key] /= step;
    const image = await NVImage.loadFromBase64({ base64: volume.data, name: "volume.nii.gz", ...scaled });
    image.step = step;
    return image;
  }

  async function open(name, layers) {
    const canvas = root.querySelector(`canvas[data-view="${name}"]`);
    const nv = new Niivue(options);
    nv.addColormap("solid", OPAQUE);
    nv.addColormap("brighter", { R: [190, 225, 255], G: [60, 70, 95], B: [45, 50, 60], A: [0, 170, 230], I: [0, 128, 255] });
    nv.addColormap("darker", { R: [60, 45, 35], G: [110, 115, 150], B: [190, 225, 255], A: [0, 170, 230], I: [0, 128, 255] });
    await nv.attachToCanvas(canvas, false);
    for (const layer of layers) nv.addVolume(layer);
    canvas.addEventListener("pointerdown", () => canvas.focus({ preventScroll: true }));
    nv.onLocationChange = () => follow(nv);
    views[name] = nv;
  }

  async function labels() {
    const image = await load(data.volumes.labels, { opacity: INSIDE });
    image.hdr.intent_code = LABELS; // else NiiVue fills instead of outlining
    image.setColormapLabel(labelColours());
    return image;
  }

  function grey(extra) {
    const { low, high } = data.windows[0];
    return { colormap: "gray", cal_min: low, cal_max: high, ...extra };
  }

  async function start() {
    const { input, render, residual } = data.volumes;
    await open("input", [await load(input, grey()), await labels()]);
    if (render) {
      await open("render", [await load(input, grey()), await load(render, grey({ colormap: "solid" }))]);
      const limits = { colormap: "brighter", colormapNegative: "darker", cal_min: 1, cal_max: 4, opacity: 0.9 };
      await open("residual", [await load(input, grey()), await load(residual, limits)]);
    }
    for (const nv of Object.values(views)) {
      nv.setAtlasOutline(OUTLINE);
      nv.broadcastTo(Object.values(views).filter((other) => other !== nv), { "2d": true });
    }
  }

  function mm(nv) {
    return Array.from(nv.frac2mm(nv.scene.crosshairPos)).slice(0, 3);
  }

  function follow(nv) {
    if (state.moving) return;
    moveTo(mm(nv), nv);
  }

  function moveTo(at, from) {
    state.moving = true;
    for (const nv of Object.values(views)) {
      if (nv !== from) nv.scene.crosshairPos = nv.mm2frac(at);
      nv.drawScene();
    }
    state.moving = false;
    tell(at);
  }

  function valueAt(image, at) {
    const [i, j, k] = image.mm2vox(at);
    return image.getValue(i, j, k) * image.step;
  }

  function tell(at) {
    const unit = data.unit === "HU" ? " HU" : "";
    const rounded = at.map((v) => v.toFixed(0));
    const parts = [`${rounded.join(", ")} mm`];
    const digits = data.unit === "HU" ? 0 : 2;
    parts.push(`input ${valueAt(views.input.volumes[0], at).toFixed(digits)}${unit}`);
    if (views.render) {
      parts.push(`render ${valueAt(views.render.volumes[1], at).toFixed(digits)}${unit}`);
      const z = valueAt(views.residual.volumes[1], at);
      parts.push(`residual ${z > 0 ? "+" : ""}${z.toFixed(1)} SD`);
    }
    const label = views.input.volumes[1] ? Math.round(valueAt(views.input.volumes[1], at)) : 0;
    if (label > 0) parts.push(data.entities[label - 1].name);
    readout.textContent = parts.join("  ·  ");
    readout.dataset.mm = at.map((v) => v.toFixed(2)).join(" ");
  }

  function press(group, value) {
    for (const button of root.querySelectorAll(`button[data-${group}]`))
      button.setAttribute("aria-pressed", String(button.dataset[group] === String(value)));
  }

  function setWindow(number) {
    state.window = Number(number);
    const { low, high } = data.windows[state.window];
    for (const [name, nv] of Object.entries(views)) {
      const greys = name === "render" ? nv.volumes : nv.volumes.slice(0, 1);
      for (const image of greys) [image.cal_min, image.cal_max] = [low / image.step, high / image.step];
      nv.updateGLVolume();
    }
    press("window", state.window);
  }

  function setPlane(name) {
    for (const nv of Object.values(views)) nv.setSliceType(SLICES[name]);
    root.classList.toggle("all", name === "all");
    for (const nv of Object.values(views)) nv.resizeListener();
    press("plane", name);
  }

  function setZoom(zoom) {
    state.zoom = Number(zoom);
    for (const nv of Object.values(views)) {
      // The crosshair stays where it is on the screen.
      const [x, y, z, before] = nv.scene.pan2Dxyzmm;
      const at = mm(nv);
      const moved = [x, y, z].map((pan, i) => pan + (before - state.zoom) * at[i]);
      nv.setPan2Dxyzmm(state.zoom === 1 ? [0, 0, 0, 1] : [...moved, state.zoom]);
    }
    press("zoom", state.zoom);
  }

  function setOutlines(on) {
    views.input.setAtlasOutline(on ? OUTLINE : 0);
    views.input.setOpacity(1, on ? INSIDE : HIDDEN);
  }

  async function setDrawn(what) {
    if (!views.render) return;
    const nv = views.render;
    const place = state.place && data.places[state.place];
    const pair = place && place[what] ? place[what] : null;
    while (nv.volumes.length > 2) nv.removeVolume(nv.volumes[2]);
    nv.setOpacity(1, pair ? HIDDEN : SHOWN);
    if (pair) {
      const { low, high } = data.windows[state.window];
      nv.addVolume(await load(pair, { colormap: "solid", cal_min: low, cal_max: high }));
    }
    state.drawn = pair ? what : "render";
    const caption = { render: "render, every place held out in turn", with: `rendered with ${place && place.name}`, without: `rendered without ${place && place.name}` };
    root.querySelector("[data-caption=render]").textContent = caption[state.drawn];
    for (const button of root.querySelectorAll("button[data-drawn]"))
      button.disabled = button.dataset.drawn !== "render" && !(place && place.with);
    press("drawn", state.drawn);
  }

  async function goTo(key) {
    const place = data.places[key];
    if (!place) return;
    state.place = key;
    setWindow(place.window);
    moveTo(place.at, null);
    setZoom(state.zoom);
    await setDrawn(place.with ? "with" : "render");
    for (const link of document.querySelectorAll("[data-place]"))
      link.classList.toggle("chosen", link.dataset.place === key);
    root.dataset.place = key;
  }

  function listen() {
    const on = (group, act) => {
      for (const button of root.querySelectorAll(`button[data-${group}]`))
        button.addEventListener("click", () => act(button.dataset[group]));
    };
    on("plane", setPlane);
    on("window", setWindow);
    on("zoom", setZoom);
    on("drawn", setDrawn);
    document.getElementById("viewer-outlines").addEventListener("change", (event) => setOutlines(event.target.checked));
    for (const link of document.querySelectorAll("[data-place]"))
      link.addEventListener("click", (event) => {
        event.preventDefault();
        root.scrollIntoView({ block: "nearest" });
        goTo(link.dataset.place);
      });
  }

  try {
    if (!document.createElement("canvas").getContext("webgl2")) throw new Error("no WebGL 2");
    document.documentElement.classList.add("live");
    await start();
    listen();
    setPlane("axial");
    setWindow(0);
    setZoom(1);
    const first = root.querySelector("[data-place]");
    if (first) await goTo(first.dataset.place);
    else moveTo(data.start, null);
    root.dataset.ready = "yes";
  } catch (error) {
    document.documentElement.classList.remove("live");
    document.getElementById("viewer-note").textContent = `The viewer cannot run here (${error.message}): the figures below show the same places.`;
    root.dataset.ready = "no";
  }
}
