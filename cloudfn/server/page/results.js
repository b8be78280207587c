// The cut pictures side by side, and as files.
import { $, h, refill, save } from "./dom.js";
import { t } from "./i18n.js";
import { cut } from "./server.js";
import { COLOURS, rectangle } from "./stage.js";
import { zip } from "./zip.js";

const HIGH = 120; // pixels of the screen that a cut picture has at most, where no width is chosen

/** Draw the cards of a picture; `select` gets the number of the one that is pointed at. */
export function showCards(picture, select, failed) {
  const width = $("width").value;
  refill($("cards"), ...picture.answer.wechat.results.map((box, number) => {
    const { width: wide, height: high } = rectangle(box);
    const share = Math.round(100 * picture.answer.explain.scores[number]);
    const label = picture.labels[number];
    const swatch = h("i", { class: "swatch" });
    swatch.style.background = COLOURS[number];
    const choose = () => select(number);
    return h("li", { onpointerenter: choose },
      h("button", { class: "pick", "aria-pressed": number === picture.selected, onfocus: choose, onclick: choose },
        piece(picture.image, box, Number(width)),
        h("span", {}, swatch, h("b", {}, label), ` ${wide}×${high} `, h("small", {}, t("keeps {share} %", { share })))),
      h("button", { class: "quiet", "aria-label": t("Download {label}", { label }), onclick: () => one(picture, number).catch(failed) }, t("Download")));
  }));
}

/** Show which card is selected. */
export function markCard(selected) {
  for (const [number, card] of [...$("cards").children].entries()) card.firstChild.ariaPressed = number === selected;
}

function piece(image, box, width) {
  const { x, y, width: wide, height: high } = rectangle(box);
  const shown = width || wide * Math.min(1, HIGH / high);
  const scale = Math.min(1, (shown * devicePixelRatio) / wide);
  const canvas = h("canvas", { width: Math.max(1, Math.round(wide * scale)), height: Math.max(1, Math.round(high * scale)) });
  canvas.style.width = `${shown}px`;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  if (image.naturalWidth) pen.drawImage(image, x, y, wide, high, 0, 0, canvas.width, canvas.height);
  return canvas;
}

async function one(picture, number) {
  const [blob] = await cut(picture.blob, [picture.answer.wechat.results[number]], $("width").value);
  save(blob, name(picture, number, blob));
}

/** Every box of every picture in one archive. */
export async function downloadAll(pictures) {
  const files = [];
  for (const picture of pictures) {
    if (!picture.answer) continue;
    const blobs = await cut(picture.blob, picture.answer.wechat.results, $("width").value);
    blobs.forEach((blob, number) => files.push({ name: unlike(files, name(picture, number, blob)), blob }));
  }
  save(await zip(files), "crops.zip");
}

function name(picture, number, blob) {
  return `${stem(picture.name)}-${picture.labels[number].replace(":", "x")}.${blob.type.slice(6).replace("jpeg", "jpg")}`;
}

export const stem = (file) => file.replace(/\.[^.]*$/, "") || "picture";

/** No two files of an archive have one name. */
function unlike(files, wanted) {
  const taken = new Set(files.map((file) => file.name));
  for (let count = 1; ; count++) {
    const next = count === 1 ? wanted : wanted.replace(/(\.[^.]*)$/, `-${count}$1`);
    if (!taken.has(next)) return next;
  }
}
