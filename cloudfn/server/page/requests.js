// The admin surface: what the server was asked, and what it shall answer.
import { $, h, refill } from "./dom.js";
import { t } from "./i18n.js";

const KEY = "cloudfn-admin";
const EVERY = 1000; // ms between two looks
// What people test against first, each with a switch; any other fault that is set has one too.
const common = (name, code, probability = 1, latency = 0) => [name, { endpoint: "img.aiCrop", code, probability, latency }];
const COMMON = [
  common("Quota of the day used up", 45009),
  common("WeChat is busy", -1),
  common("Every third answer is HTTP 502", 502, 0.33),
  common("Two seconds late", 0, 1, 2),
];

let state, listed, problem, timer;
let changes = 0; // an answer from before the last one is old

/** Take the admin token out of the address, where `cloudfn serve --open` put it. */
export function remember() {
  const [, token] = location.hash.split("#admin=");
  if (!token) return;
  sessionStorage[KEY] = token;
  history.replaceState(null, "", "#crop");
}

/** Look at the server every second, or stop. */
export function watch(on) {
  clearTimeout(timer);
  timer = undefined;
  if (on) look();
}

async function look() {
  const mine = timer = setTimeout(() => {}, 0);
  if (!document.hidden) {
    const [before, since] = [JSON.stringify([state, listed, problem]), changes];
    problem = undefined;
    const [now, last] = [await ask("state"), await ask("requests")];
    if (since === changes) [state, listed] = [now, last?.requests];
    if (before !== JSON.stringify([state, listed, problem])) show();
  }
  if (timer === mine) timer = setTimeout(look, EVERY);
}

async function ask(path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage[KEY]}` };
  try {
    const response = await fetch(`_cloudfn/${path}`, body === undefined ? {} : { method: "POST", headers, body: JSON.stringify(body) });
    const answer = await response.json();
    if (response.ok) return answer;
    if (response.status === 401 && (sessionStorage[KEY] = prompt(t("The admin token that cloudfn serve printed")) ?? "")) return ask(path, body);
    problem = answer.error;
  } catch {
    problem = t("The server does not answer.");
  }
  return undefined;
}

async function change(path, body = {}) {
  problem = undefined;
  changes++;
  state = (await ask(path, body)) ?? state;
  changes++;
  show();
}

/** Draw the view. */
export function show() {
  $("admin-problem").hidden = !problem;
  $("admin-problem").textContent = problem ?? "";
  $("admin").hidden = !state;
  if (!state || !listed) return;
  const { quota, tokens } = state;
  $("quota-state").textContent = quota.limit === null ? t("{used} used, no limit", quota) : t("{used} of {limit} used", quota);
  $("tokens-state").textContent = t(state.strict ? "{n} valid, no others are taken" : "{n} valid, any word is taken", { n: tokens });
  showFaults();
  showRequests();
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

function showFaults() {
  const others = state.faults.filter((fault) => !COMMON.some(([, known]) => same(known, fault)));
  const rows = [...COMMON, ...others.map((fault) => ["", fault])];
  refill($("faults"), ...rows.map(([name, fault]) => {
    const on = state.faults.some((set) => same(set, fault));
    const faults = on ? state.faults.filter((set) => !same(set, fault)) : [...state.faults, fault];
    return h("label", { class: "switch" },
      h("input", { type: "checkbox", role: "switch", checked: on, onchange: () => change("faults", { faults }) }),
      h("span", {}, name ? t(name) : fault.endpoint, " ", h("small", {}, facts(fault))));
  }));
}

function facts({ code, probability, latency }) {
  return [code || "", probability < 1 ? `${Math.round(probability * 100)} %` : "", latency ? `+${latency} s` : ""].filter(Boolean).join(" ");
}

function showRequests() {
  const rows = listed.filter((row) => $("with-page").checked || row.through !== "page").reverse();
  $("none").hidden = rows.length > 0;
  $("list").hidden = !rows.length;
  $("list").tBodies[0].replaceChildren(...rows.map((row) => h("tr", {},
    h("td", {}, new Date(row.time * 1000).toLocaleTimeString()),
    h("td", {}, `${row.method} ${row.path}`, h("small", {}, details(row))),
    h("td", {}, h("b", { class: row.code ? "wrong" : "" }, row.code)),
    h("td", {}, row.milliseconds),
    h("td", {}, ...row.mistakes.map((mistake) => h("p", {}, mistake))),
    h("td", { class: "rid" }, row.rid))));
}

function details({ through, img_url: url, ratios, picture }) {
  return [through === "http" ? "" : through, url, ratios && `ratios ${ratios}`, picture && t("{n} bytes", { n: picture })].filter(Boolean).join(" · ");
}

$("quota").addEventListener("submit", (event) => {
  event.preventDefault();
  const { value } = event.target.limit;
  change("quota", { limit: value === "" ? null : Number(value) });
});
$("fault").addEventListener("submit", (event) => {
  event.preventDefault();
  const { endpoint, code, probability, latency } = event.target;
  const fault = { endpoint: endpoint.value, code: Number(code.value), probability: Number(probability.value), latency: Number(latency.value) };
  change("faults", { faults: [...state.faults.filter((set) => !same(set, fault)), fault] });
});
$("expire").addEventListener("click", () => change("tokens/expire"));
$("reset").addEventListener("click", () => change("reset"));
$("with-page").addEventListener("change", show);
