// Small steps on the page that all parts of the dashboard take.

export const at = (id) => document.getElementById(id);

/** Writes a text. Writing an unchanged one would disturb selections and screen readers. */
export function show(place, text) {
  const element = typeof place === "string" ? at(place) : place;
  if (element.textContent !== text) element.textContent = text;
}

/** A new element with attributes and children, which are elements or texts. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
