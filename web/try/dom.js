// Elements in one line.

/** An element with attributes (functions become listeners, null and false are left out) and children. */
export function h(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Writes a text unless it is there already: writing it again would disturb selections and screen readers. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
