// The page: pictures in, crops on the screen.
import { LANGUAGES, without } from "./code.js";
import { $, h, refill } from "./dom.js";
import { language, speak, t, translate } from "./i18n.js";
import { PRESETS, read, toggled } from "./ratios.js";
import * as requests from "./requests.js";
import { downloadAll, markCard, showCards, stem } from "./results.js";
import { Failed, failed, fetchPicture, find, gone, MAX_BYTES } from "./server.js";
import { frame, pen } from "./stage.js";

const SAMPLES = ["astronaut", "chelsea", "coffee", "raccoon", "rocket"];
const FRAMES = ["1:1", "16:9", "3:4", "9:16", "3:1"];
const PATIENCE = 250; // ms after the last key before a crop is asked for
const AT_A_TIME = 2;

const shows = { heat: false, others: false, focal: false };
let pictures = [];
let current; // one of them
let error; // of the whole page; a picture has its own
let wanted = read("1, 16:9");
let code = "curl";
let spelling = "wechat";
let typing;
let queue; // the pictures that wait for their crops

// --- Pictures ---

/** Take [{name, blob, url}, ...] in the place of those before. */
async function open(sources) {
  pictures.forEach((picture) => URL.revokeObjectURL(picture.address));
  pictures = sources.map(({ name, blob, url = "" }) => {
    const image = new Image();
    const address = image.src = URL.createObjectURL(blob);
    return { name, blob, url, address, image, shown: image.decode().then(() => true, () => false), focus: [], labels: [], selected: 0 };
  });
  current = pictures[0];
  await findAll();
}

async function findAll() {
  const waiting = queue = [...pictures];
  error = undefined;
  const work = async () => { while (waiting.length && waiting === queue) await crop(waiting.shift()); };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
}

async function crop(picture) {
  picture.asked?.abort();
  const asked = picture.asked = new AbortController();
  const { labels, wire } = wanted;
  const start = performance.now();
  try {
    const answer = await find(picture.blob, wire, picture.focus, asked.signal);
    Object.assign(picture, { answer, labels: labels.length ? labels : ["auto"], wire, error: undefined });
    picture.milliseconds = Math.round(performance.now() - start);
    picture.selected = Math.min(picture.selected, answer.wechat.results.length - 1);
    if (picture === current) showStage(); // the boxes do not wait for the pixels
    await picture.shown;
  } catch (problem) {
    if (problem.name === "AbortError") return;
    Object.assign(picture, { answer: undefined, error: problem });
  }
  if (asked.signal.aborted || !pictures.includes(picture)) return;
  if (picture === current) show();
  else showSheet();
}

function openFiles(list) {
  const files = [...list];
  if (files.length) open(files.map((blob) => ({ name: blob.name || "picture", blob })));
}

async function openUrl(url) {
  try {
    const blob = await fetchPicture(url);
    let name = new URL(url).pathname.split("/").pop() || "picture";
    try { name = decodeURIComponent(name); } catch { /* not UTF-8 */ }
    await open([{ name: name.replace(/[\\/]/g, "_"), blob, url }]); // no way out of the archive
  } catch (problem) {
    fail(problem, url);
  }
}

async function openSample(name) {
  const response = await fetch(`page/samples/${name}.jpg`).catch(() => undefined);
  if (response?.ok) await open([{ name: `${name}.jpg`, blob: await response.blob() }]);
  else fail(gone());
}

/** Scale the current picture until the server takes it, and show the smaller one. */
async function shrink() {
  let { blob } = current;
  for (let scale = Math.sqrt(MAX_BYTES / blob.size); blob.size > MAX_BYTES; scale *= 0.8) {
    const canvas = h("canvas", { width: Math.round(current.image.naturalWidth * scale), height: Math.round(current.image.naturalHeight * scale) });
    canvas.getContext("2d").drawImage(current.image, 0, 0, canvas.width, canvas.height);
    blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
  }
  await open([{ name: `${stem(current.name)}-small.jpg`, blob }]);
}

// --- What is on the screen ---

function show() {
  showProblem();
  showSheet();
  showStage();
  showStatus();
  showFocuses();
  for (const id of ["results", "focal"]) $(id).hidden = !current?.answer;
  if (current?.answer) {
    showCards(current, select, fail);
    showFocal();
  }
  showCall();
}

/** Show what went wrong; `url` is that of the picture that could not be had. */
function fail(problem, url) {
  error = problem instanceof Failed ? problem : failed("", String(problem), "");
  error.url = url;
  showProblem();
  showCall();
}

function showProblem() {
  const problem = error ?? current?.error;
  $("problem").hidden = !problem;
  if (!problem) return $("problem").replaceChildren();
  const { answer } = problem;
  const cause = answer.mistakes.join("; ");
  const cure = t(`cure ${answer.code}`) === `cure ${answer.code}` ? answer.cure : t(`cure ${answer.code}`);
  $("problem").replaceChildren(
    h("h2", {}, [answer.code, answer.name].filter(Boolean).join(" ") || t("No answer")),
    h("p", {}, cause),
    cause.includes(cure) ? "" : h("p", {}, h("b", {}, t("Cure")), ` ${cure}`),
    answer.rid ? h("p", { class: "faint" }, `rid ${answer.rid}`) : "",
    h("div", { class: "bar" },
      problem.tooBig ? h("button", { class: "primary", onclick: () => shrink().catch(fail) }, t("Make it smaller here")) : "",
      current && !error ? h("button", { onclick: () => crop(current) }, t("Try again")) : ""));
}

function showSheet() {
  $("sheet").hidden = pictures.length < 2;
  refill($("sheet"), ...(pictures.length < 2 ? [] : pictures).map((picture) =>
    h("button", { "aria-pressed": picture === current, onclick: () => { current = picture; error = undefined; show(); } },
      frame(picture, {}), h("span", {}, picture.name),
      picture.error ? h("b", { class: "problem" }, picture.error.answer.code ?? "!") : "")));
}

function showStage() {
  $("tools").hidden = !current;
  if (!current) return;
  $("stage").className = shows.heat ? "grey" : "";
  $("stage").replaceChildren(frame(current, shows, select));
  $("legend").hidden = !(shows.heat && current.answer);
}

async function showStatus() {
  const picture = current, line = $("status");
  if (!picture) return;
  const { answer, milliseconds } = picture;
  const text = !answer ? "" : t("{w}×{h} pixels · boxes: {boxes} · faces: {faces} · {ms} ms", {
    ...answer.wechat.img_size, boxes: answer.wechat.results.length, faces: answer.explain.faces.length, ms: milliseconds,
  });
  line.textContent = text;
  if (answer && !(await picture.shown) && picture === current) line.textContent = `${text} ${t("This browser cannot show this format.")}`;
}

function select(number) {
  if (current.selected === number) return;
  current.selected = number;
  showStage();
  markCard(number);
}

function showFocuses() {
  $("focuses").hidden = !current;
  if (!current) return;
  const changed = () => crop(current);
  refill($("focuses"),
    ...current.focus.map((box, number) => h("div", { class: "bar" },
      h("label", {}, t("Focus {n}: left, top, right, bottom", { n: number + 1 }),
        h("input", { value: box.join(), onchange: (event) => { current.focus[number] = event.target.value.split(",").map(Number); changed(); } })),
      h("button", { class: "quiet", "aria-label": t("Remove focus {n}", { n: number + 1 }), onclick: () => { current.focus.splice(number, 1); changed(); } }, "×"))),
    h("div", { class: "bar" },
      h("button", { class: "quiet", onclick: () => { current.focus.push(middle()); changed(); } }, t("Add a focus")),
      h("span", { class: "faint" }, t("or drag on the picture: what must stay whole"))));
}

/** The middle third of the current picture. */
function middle() {
  const { naturalWidth: width, naturalHeight: height } = current.image;
  return [width / 3, height / 3, (2 * width) / 3, (2 * height) / 3].map(Math.floor);
}

function showFocal() {
  const { x, y } = current.answer.explain.focal_share;
  const position = `${(100 * x).toFixed(1)}% ${(100 * y).toFixed(1)}%`;
  $("css").textContent = `object-fit: cover; object-position: ${position};`;
  $("frames").replaceChildren(...FRAMES.map((ratio) => {
    const image = h("img", { src: current.address, alt: "" });
    image.style.objectPosition = position;
    image.style.aspectRatio = ratio.replace(":", " / ");
    return h("figure", {}, image, h("figcaption", {}, ratio));
  }));
}

function showCall() {
  const refused = (error ?? current?.error)?.answer;
  const answer = refused?.wechat ? refused : current?.answer;
  $("call").hidden = !answer;
  if (!answer) return;
  const subject = error?.url || !current ? { name: "", url: error.url, focus: [] } : current;
  const call = { file: subject.name, type: subject.blob?.type || "image/jpeg", url: subject.url, ratios: subject.wire ?? wanted.wire, focus: subject.focus };
  const made = LANGUAGES[code](call);
  $("code").textContent = made.code;
  $("code-note").textContent = without(code, call.focus) || made.note;
  $("json").textContent = shortened(answer[spelling]);
  choices("codes", Object.keys(LANGUAGES), code, (name) => { code = name; });
  choices("cases", ["wechat", "cloud"], spelling, (name) => { spelling = name; }, { wechat: t("over HTTPS"), cloud: t("from the cloud call") });
}

/** JSON with a box a line. */
function shortened(value) {
  const inner = /\{\s+("\w+": -?\d+,?\s+)+\}/g;
  return JSON.stringify(value, null, 2).replace(inner, (box) => box.replace(/\s+/g, " "));
}

function choices(id, names, chosen, choose, labels = {}) {
  const buttons = $(id).children;
  if (buttons.length !== names.length) {
    $(id).replaceChildren(...names.map((name) => h("button", { onclick: () => { choose(name); showCall(); } })));
  }
  names.forEach((name, number) => {
    buttons[number].textContent = labels[name] ?? name;
    buttons[number].ariaPressed = name === chosen;
  });
}

// --- Ratios ---

function showRatios() {
  const { labels, problem } = read($("ratios").value);
  $("ratios-problem").textContent = problem;
  $("ratios").ariaInvalid = Boolean(problem);
  for (const button of $("presets").children) {
    button.ariaPressed = button.value ? labels.includes(button.value) : !labels.length;
  }
}

function ratiosChanged(wait) {
  showRatios();
  clearTimeout(typing);
  const next = read($("ratios").value);
  if (next.problem) return;
  wanted = next;
  typing = setTimeout(findAll, wait);
}

function setRatios(text) {
  $("ratios").value = text;
  ratiosChanged(0);
}

// --- Begin ---

function route() {
  requests.remember();
  const there = location.hash === "#requests";
  $("crop").hidden = there;
  $("requests").hidden = !there;
  for (const link of document.querySelectorAll("nav a")) link.ariaCurrent = (link.hash === "#requests") === there ? "page" : "false";
  requests.watch(there);
}

function tell() {
  translate();
  $("language").textContent = language === "zh" ? "English" : "中文";
  $("language").lang = language === "zh" ? "en" : "zh-CN";
  $("presets").lastChild.textContent = t("automatic");
  showRatios();
  show();
  requests.show();
}

for (const id of ["files", "camera"]) {
  $(id).addEventListener("change", () => { openFiles($(id).files); $(id).value = ""; });
}
$("by-url").addEventListener("submit", (event) => { event.preventDefault(); openUrl($("url").value); });
$("samples").append(...SAMPLES.map((name) =>
  h("button", { "aria-label": name, onclick: () => openSample(name) }, h("img", { src: `page/samples/${name}.jpg`, alt: "" }))));

$("ratios").value = wanted.labels.join(", ");
$("presets").append(
  ...PRESETS.map((ratio) => h("button", { value: ratio, onclick: () => setRatios(toggled($("ratios").value, ratio)) }, ratio)),
  h("button", { onclick: () => setRatios("") }));
$("ratios").addEventListener("input", () => ratiosChanged(PATIENCE));

for (const name of Object.keys(shows)) {
  const button = $(`show-${name}`);
  button.addEventListener("click", () => { button.ariaPressed = shows[name] = !shows[name]; showStage(); });
}
$("draw").addEventListener("click", () => { $("draw").ariaPressed = $("stage").toggleAttribute("data-drawing"); });
pen($("stage"), () => $("stage").hasAttribute("data-drawing"), (box) => { current.focus.push(box); crop(current); });

$("width").addEventListener("change", () => showCards(current, select, fail));
$("download-all").addEventListener("click", () => downloadAll(pictures).catch(fail));
for (const box of document.querySelectorAll(".copyable")) {
  const button = h("button", { "data-t": "", "aria-live": "polite" }, "Copy");
  box.append(button);
  button.addEventListener("click", async () => {
    const text = box.querySelector("code");
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = t("Copied");
      setTimeout(() => { button.textContent = t("Copy"); }, 1500);
    } catch { // no clipboard without https
      getSelection().selectAllChildren(text);
    }
  });
}

const dragging = (on) => document.body.classList.toggle("dragging", on);
addEventListener("dragover", (event) => { event.preventDefault(); dragging(true); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) dragging(false); });
addEventListener("drop", (event) => { event.preventDefault(); dragging(false); take(event.dataTransfer); });
addEventListener("paste", (event) => { if (!event.target.closest?.("input") || event.clipboardData.files.length) take(event.clipboardData); });

/** Files, or the address of a picture of another page. */
function take(data) {
  const url = (data.getData("text/uri-list") || data.getData("text/plain")).split("\n")[0].trim();
  if (data.files.length) openFiles(data.files);
  else if (/^https?:/.test(url)) openUrl($("url").value = url);
}

$("language").addEventListener("click", () => { speak(language === "zh" ? "en" : "zh"); tell(); });
addEventListener("hashchange", route);
tell();
route();
