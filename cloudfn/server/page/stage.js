// The picture with what was found drawn over it, and the pen for a focus.
import { h, svg } from "./dom.js";

// Told apart on any photograph and by colour-blind readers: Okabe & Ito, "Color Universal Design", 2008.
export const COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442"];
// The heat map's colours for 0, 128 and 255; the legend in style.css has them too.
const HEAT = [[32, 0, 64], [224, 48, 16], [255, 255, 128]];
const CELLS = 64;
const LEAST = 6; // pixels of the screen; less is a click

/** WeChat's inclusive corners as an SVG rectangle's attributes. */
export function rectangle(box) {
  const { crop_left: x, crop_top: y, crop_right: right, crop_bottom: bottom } = box;
  return { x, y, width: right - x + 1, height: bottom - y + 1 };
}

/** The picture and its boxes. `shows`: heat, others, focal; `select` gets the box that is pointed at. */
export function frame(picture, shows, select) {
  const { w, h: height } = picture.answer?.wechat.img_size ?? { w: picture.image.naturalWidth || 1, h: picture.image.naturalHeight || 1 };
  const made = h("div", { class: "frame" }, h("img", { src: picture.address, alt: select ? picture.name : "" }));
  made.style.setProperty("--ratio", w / height);
  made.style.setProperty("--width", `${w}px`);
  const layer = svg("svg", { viewBox: `0 0 ${w} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const why = picture.answer?.explain;
  if (why) {
    if (shows.heat) made.append(heat(why.map));
    drawFound(layer, picture, why, w, height, shows, select);
    made.append(layer);
    if (select) made.append(tag(picture, w, height));
  }
  return made;
}

function drawFound(layer, picture, why, w, height, shows, select) {
  const draw = (name, attributes) => layer.append(svg(name, attributes));
  const boxes = picture.answer.wechat.results;
  const order = [...boxes.keys()].sort((a, b) => (a === picture.selected) - (b === picture.selected));
  const { x, y, width, height: tall } = rectangle(boxes[picture.selected]);
  draw("path", { class: "cut-away", d: `M0 0H${w}V${height}H0ZM${x} ${y}v${tall}h${width}v${-tall}Z` });
  if (shows.focal) {
    for (const face of why.faces) draw("rect", { class: "face", ...rectangle(face) });
    const { x: left, y: top } = why.focal_point;
    const arm = Math.max(w, height) / 40;
    draw("path", { class: "focal", d: `M${left - arm} ${top}h${2 * arm}M${left} ${top - arm}v${2 * arm}` });
  }
  if (shows.others) {
    for (const box of why.runners_up[picture.selected]) draw("rect", { class: "other", stroke: COLOURS[picture.selected], ...rectangle(box) });
  }
  for (const box of why.focus) draw("rect", { class: "focus", ...rectangle(box) });
  for (const number of order) {
    const place = rectangle(boxes[number]);
    const chosen = number === picture.selected;
    draw("rect", { class: chosen ? "box chosen" : "box", "data-box": number, stroke: COLOURS[number], ...place });
    draw("rect", { class: "handle", ...place, onpointerenter: () => select?.(number), onclick: () => select?.(number) });
  }
}

function tag(picture, w, height) {
  const { crop_left: left, crop_top: top } = picture.answer.wechat.results[picture.selected];
  const made = h("span", { class: "tag" }, picture.labels[picture.selected]);
  made.style.left = `${(100 * left) / w}%`;
  made.style.top = `${(100 * top) / height}%`;
  made.style.background = COLOURS[picture.selected];
  return made;
}

function heat(map) {
  const canvas = h("canvas", { class: "heat", width: CELLS, height: CELLS });
  const pixels = new ImageData(CELLS, CELLS);
  [...atob(map)].forEach((letter, cell) => {
    const level = letter.charCodeAt(0) / 127.5;
    const [from, to] = level < 1 ? [HEAT[0], HEAT[1]] : [HEAT[1], HEAT[2]];
    const colour = from.map((value, channel) => value + (to[channel] - value) * (level < 1 ? level : level - 1));
    pixels.data.set([...colour, 255], cell * 4);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/**
 * Let the user draw boxes on what `stage` shows: `drawn` gets [left, top, right, bottom] in pixels of the picture, right
 * and bottom inclusive. A mouse draws at once; a finger, which else scrolls, where `fingers()` says so.
 */
export function pen(stage, fingers, drawn) {
  let start, rubber;
  const place = (event) => {
    const layer = stage.querySelector("svg");
    const around = layer.getBoundingClientRect();
    const { width, height } = layer.viewBox.baseVal;
    const inside = (value, most) => Math.min(most - 1, Math.max(0, Math.floor(value)));
    return [inside(((event.clientX - around.left) / around.width) * width, width),
      inside(((event.clientY - around.top) / around.height) * height, height)];
  };
  const ends = (event) => {
    const [a, b] = [start.at, place(event)];
    return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  };
  const stop = () => {
    rubber?.remove();
    start = rubber = undefined;
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button || !stage.querySelector("svg") || (event.pointerType === "touch" && !fingers())) return;
    start = { at: place(event), x: event.clientX, y: event.clientY };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!start || Math.hypot(event.clientX - start.x, event.clientY - start.y) < LEAST) return;
    const [x, y, right, bottom] = ends(event);
    rubber?.remove();
    rubber = svg("rect", { class: "focus", x, y, width: right - x + 1, height: bottom - y + 1 });
    stage.querySelector("svg").append(rubber);
  });
  stage.addEventListener("pointerup", (event) => {
    const box = rubber && ends(event);
    stop();
    if (box) drawn(box);
  });
  stage.addEventListener("pointercancel", stop);
}
