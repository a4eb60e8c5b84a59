// A picture of many tiles that zooms: tiles are asked for when they are seen, finer when near.
"use strict";

const scan = document.getElementById("scan");
const tiles = [...scan.querySelectorAll("image")];
const whole = { x: 0, y: 0, w: Number(scan.dataset.width), h: Number(scan.dataset.height) };
let view = { ...whole };
let due = 0;

function show() {
  scan.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  clearTimeout(due);
  due = setTimeout(load, 120);
}

function load() {
  const scale = scan.clientWidth / view.w; // pixels of the screen for one of the scan
  for (const tile of tiles) {
    const [x, y, w, h] = ["x", "y", "width", "height"].map((name) => Number(tile.getAttribute(name)));
    const seen = x < view.x + view.w && x + w > view.x && y < view.y + view.h && y + h > view.y;
    if (!seen) continue;
    const wanted = Math.max(w, h) * scale > 160 ? tile.dataset.large : tile.dataset.small;
    const shown = tile.getAttribute("href");
    if (shown !== tile.dataset.large && shown !== wanted) tile.setAttribute("href", wanted);
  }
}

function zoom(factor, x = view.x + view.w / 2, y = view.y + view.h / 2) {
  const w = Math.min(whole.w, Math.max(40, view.w * factor));
  const ratio = w / view.w;
  view = { x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio, w, h: view.h * ratio };
  move(0, 0);
}

function move(dx, dy) {
  const within = (at, size, all) => Math.max(Math.min(0, all - size), Math.min(at, Math.max(0, all - size)));
  view.x = within(view.x + dx, view.w, whole.w);
  view.y = within(view.y + dy, view.h, whole.h);
  show();
}

function place(event) {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(scan.getScreenCTM().inverse());
  return [at.x, at.y];
}

scan.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(event.deltaY < 0 ? 0.8 : 1.25, ...place(event));
}, { passive: false });

let held = null;
scan.addEventListener("pointerdown", (event) => {
  held = [event.clientX, event.clientY];
  scan.setPointerCapture(event.pointerId);
});
scan.addEventListener("pointermove", (event) => {
  if (!held) return;
  const scale = view.w / scan.clientWidth;
  move((held[0] - event.clientX) * scale, (held[1] - event.clientY) * scale);
  held = [event.clientX, event.clientY];
});
scan.addEventListener("pointerup", () => (held = null));

const ACTIONS = {
  in: () => zoom(0.7),
  out: () => zoom(1 / 0.7),
  all: () => { view = { ...whole }; show(); },
};
const KEYS = { "+": "in", "=": "in", "-": "out", 0: "all" };
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
scan.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (step) move((step[0] * view.w) / 8, (step[1] * view.h) / 8);
  else if (KEYS[event.key]) ACTIONS[KEYS[event.key]]();
  else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => ACTIONS[button.dataset.zoom]());
}
document.getElementById("boxes").addEventListener("change", (event) => {
  document.getElementById("cells").toggleAttribute("hidden", !event.target.checked);
});
show();
