// The tabs above a chart, of which one is chosen: by pointer, or by the arrow keys.

const at = (id) => document.getElementById(id);

export class Tabs {
  #kinds;
  #chosen;
  #changed;

  /** The tabs of `kinds`, whose elements are `tab-KIND`; the first is chosen. Calls `changed` when another is. */
  constructor(kinds, changed) {
    this.#kinds = kinds;
    this.#chosen = kinds[0];
    this.#changed = changed;
    for (const kind of kinds) {
      at(`tab-${kind}`).addEventListener("click", () => this.#choose(kind));
      at(`tab-${kind}`).addEventListener("keydown", ({ key }) => this.#key(kind, key));
    }
  }

  /** Shows the tabs of `offered`, which is not empty, and answers with the one whose chart to draw. */
  show(offered) {
    const kind = offered.includes(this.#chosen) ? this.#chosen : offered[0];
    for (const name of this.#kinds) {
      const tab = at(`tab-${name}`);
      tab.hidden = !offered.includes(name);
      tab.setAttribute("aria-selected", String(name === kind));
      tab.tabIndex = name === kind ? 0 : -1;
    }
    at("chart").setAttribute("aria-labelledby", `tab-${kind}`);
    return kind;
  }

  #key(kind, key) {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    const other = this.#kinds.find((name) => name !== kind && !at(`tab-${name}`).hidden);
    if (other === undefined) return;
    this.#choose(other);
    at(`tab-${other}`).focus();
  }

  #choose(kind) {
    this.#chosen = kind;
    this.#changed();
  }
}
