// English is what stands in the code and in index.html; zh.js translates it.
import { zh } from "./zh.js";

const KEY = "cloudfn-language";
const memory = (() => { try { return localStorage; } catch { return {}; } })(); // which a browser may refuse

export let language = memory[KEY] ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** The text in the user's language, {names} replaced. */
export function t(text, names = {}) {
  const words = language === "zh" ? zh[text] ?? text : text;
  return words.replace(/\{(\w+)\}/g, (_, name) => names[name]);
}

/** Another language; the caller draws again what it drew. */
export function speak(other) {
  language = other;
  memory[KEY] = other;
  translate();
}

/** Translate what stands in index.html. */
export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-t]")) {
    element.dataset.t ||= element.textContent;
    element.textContent = t(element.dataset.t);
  }
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = t(element.dataset.label);
}
