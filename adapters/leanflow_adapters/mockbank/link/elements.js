/* How the hosted page makes what it shows. Text is always put in as text: nothing is parsed. */

/* Make an element: attributes as they are, functions as listeners; the rest is put into it. */
export function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...content.filter((one) => one !== null));
  return element;
}

export const TEMPLE = "M4 10l8-5 8 5M5 10h14M7 10v7M12 10v7M17 10v7M4 19h16";
export const TICK = "M5 12.5l4.5 4.5L19 7.5";
export const EXCLAMATION = "M12 6v7M12 17.5v.01";

export function drawing(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const filled = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
export const heading = (text) => make("h1", { tabindex: "-1" }, text);
export const paragraph = (text, kind = "text") => make("p", { class: kind }, text);
export const button = (text, click, kind = "main") => make("button", { type: "button", class: kind, click }, text);
export const submit = (text) => make("button", { type: "submit", class: "main" }, text);
export const actions = (...all) => make("div", { class: "actions" }, ...all);
export const push = () => make("div", { class: "push" });
