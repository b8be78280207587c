// What the page asks of its server. Every answer is {wechat, cloud, rid, name, mistakes, cure, ...}, failed ones too.
import { t } from "./i18n.js";

export const MAX_BYTES = Number(document.documentElement.dataset.maxBytes);
export const STRICT = document.documentElement.dataset.strict === "true";

/** An answer that says no, as the page shows it. */
export class Failed extends Error {
  constructor(answer) {
    super(answer.mistakes.join("; "));
    this.answer = answer;
  }
}

/** The crops of a picture, and why. */
export async function find(picture, ratios, focus, signal) {
  if (picture.size > MAX_BYTES) throw tooBig(picture.size);
  return asked("crop", { img: picture, ratios, focus: focus.map((box) => box.join(",")).join(";") }, signal);
}

/** The boxes cut out, as blobs. */
export async function cut(picture, boxes, width) {
  const corners = boxes.map((box) => [box.crop_left, box.crop_top, box.crop_right, box.crop_bottom].join(","));
  return (await asked("cut", { img: picture, boxes: corners.join(";"), width })).files.map(blob);
}

/** The picture behind a URL. */
export async function fetchPicture(url) {
  return blob((await asked("fetch", { img_url: url })).files[0]);
}

async function asked(address, fields, signal) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) body.append(name, value, "img");
    else body.append(name, value);
  }
  let response, answer;
  try {
    response = await fetch(`page/${address}`, { method: "POST", body, signal });
    if (response.ok) answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw gone();
  }
  if (!answer) {
    throw failed(`HTTP ${response.status}`, t("the server answered without a body"), t("see its log, and the faults that are set"));
  }
  if (answer.wechat.errcode) throw new Failed({ ...answer, code: answer.wechat.errcode });
  return answer;
}

export const failed = (name, mistake, cure) => new Failed({ name, mistakes: [mistake], cure, rid: "", wechat: null, cloud: null });

export const gone = () => failed("", t("The server does not answer."), t("Start it again: cloudfn serve --open"));

function tooBig(size) {
  const error = failed("INVALID_IMAGE_DATA", t("{size} bytes, {most} are taken", { size, most: MAX_BYTES }),
    t("make it smaller, or raise --max-bytes"));
  error.answer.code = 101002;
  error.tooBig = true;
  return error;
}

function blob({ type, data }) {
  return new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], { type });
}
