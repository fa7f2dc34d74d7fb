// Draws the volunteers as a school of fish over a sandbank: one fish each, and this tab's own in another color
// while it lends. It is decoration: the text has the same numbers.

const FISH = "M6 0C12-8 23-8 30 0C23 8 12 8 6 0L-3-6V6z";
const FISH_MAX = 90;
/** The middle of the school and how far it reaches: all of it in sight, above the sand. */
const CENTER = { x: 600, y: 84 };
const REACH = { x: 420, y: 28 };
/** Each fish turns by the golden angle from the last, which fills an ellipse evenly with any number of fish. */
const GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5));
/** With this one, the first few do not swim one above the other. */
const FIRST_ANGLE = 0.6;

let drawn = "";

/** Shows `volunteers` fish; `mine` says whether one of them is this tab. */
export function drawSchool(svg, volunteers, mine) {
  const fish = Math.min(Math.max(volunteers, mine ? 1 : 0), FISH_MAX);
  const state = `${fish} ${mine}`;
  if (state === drawn) return;
  drawn = state;
  // A lonely fish is larger than one of many.
  const size = Math.max(1, 2 - fish / 20);
  const school = node("g", {});
  for (let index = fish - 1; index >= 0; index -= 1) {
    const reach = Math.sqrt(index / Math.max(fish, 12));
    const angle = FIRST_ANGLE + index * GOLDEN_ANGLE;
    const x = CENTER.x + REACH.x * reach * Math.cos(angle) - 12 * size;
    const y = CENTER.y + REACH.y * reach * Math.sin(angle);
    const kind = index === 0 && mine ? "fish mine" : `fish swim-${index % 3}`;
    const place = node("g", { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${size.toFixed(2)})` });
    place.append(node("path", { class: kind, d: FISH }));
    school.append(place);
  }
  const back = node("path", { class: "bank back", d: "M0 118C180 84 330 96 520 116S900 140 1200 92V150H0Z" });
  const front = node("path", { class: "bank", d: "M0 138C220 112 420 122 640 136S1010 146 1200 118V150H0Z" });
  svg.replaceChildren(back, school, front);
}

function node(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
