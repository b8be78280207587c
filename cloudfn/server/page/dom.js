// Elements without markup in strings: the page's policy lets nothing else through.

export const $ = (id) => document.getElementById(id);

/** Make an element; `on...` are listeners, false and undefined are no attribute. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && (value !== false || name.startsWith("aria-"))) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Put other children into an element; what has the focus there keeps it. */
export function refill(element, ...children) {
  const all = () => [...element.querySelectorAll("button, input")];
  const at = all().indexOf(document.activeElement);
  element.replaceChildren(...children);
  all()[at]?.focus();
}

/** Give bytes to the user as a file. */
export function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
