// Ratios as people type them, checked as the server does (cloudfn/call/params.py).
import { t } from "./i18n.js";

export const PRESETS = ["1", "4:3", "16:9", "2.35", "3:4", "9:16"];
const MOST = 5;
const DECIMAL = "\\d+(?:\\.\\d*)?|\\.\\d+";
const RATIO = new RegExp(`^(${DECIMAL})(?:\\s*:\\s*(${DECIMAL}))?$`);

/** {labels, wire, problem}: the ratios as typed, as they go to WeChat, and what is wrong ("" where nothing is). */
export function read(text) {
  const labels = text.trim() ? text.split(",").map((item) => item.trim()) : [];
  const wire = labels.map(number);
  const bad = wire.indexOf("");
  let problem = "";
  if (bad >= 0) {
    problem = t("“{label}”: write 1.78 or 16:9, with ASCII , and :", { label: labels[bad] });
  } else if (labels.length > MOST) {
    problem = t("{n} ratios: at most five", { n: labels.length });
  }
  return { labels, wire: wire.join(","), problem };
}

/** A decimal as typed, width:height with six digits as WeChat's clients send it; "" for what is no ratio. */
function number(label) {
  const [, width, height] = RATIO.exec(label) ?? [];
  const value = Number(width) / Number(height ?? 1);
  if (!(value > 0 && Number.isFinite(value))) return "";
  return height ? String(Number(value.toPrecision(6))) : label;
}

/** The text with a preset added, or taken out where it stands in it. */
export function toggled(text, preset) {
  const { labels } = read(text);
  return (labels.includes(preset) ? labels.filter((label) => label !== preset) : [...labels, preset]).join(", ");
}
