// A pad to draw on with a finger, a pen or a mouse: white on black, as MNIST's digits are.

import { canvas } from "./picture.js";

const SIZE = 280;
const STROKE = 22;
/** Strokes that can be undone. Older ones stay drawn. */
const STROKES_MAX = 200;
/** Points of a stroke; a longer one goes on as another. */
const POINTS_MAX = 5000;

export class Pad {
  #context;
  #strokes = [];
  #pointer = null;
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
    this.element = canvas(SIZE, SIZE);
    this.element.id = "pad";
    this.element.className = "pad";
    this.element.setAttribute("role", "img");
    this.element.setAttribute("aria-label", "A pad to draw on with a pointer. Without one, choose an example or a file below.");
    this.#context = this.element.getContext("2d", { willReadFrequently: true });
    this.element.addEventListener("pointerdown", (event) => this.#begin(event));
    this.element.addEventListener("pointermove", (event) => this.#go(event));
    for (const end of ["pointerup", "pointercancel"]) this.element.addEventListener(end, (event) => this.#end(event));
    this.#draw();
  }

  get isEmpty() {
    return this.#strokes.length === 0;
  }

  undo() {
    this.#strokes.pop();
    this.#draw();
    this.#onChange();
  }

  clear() {
    this.#strokes = [];
    this.#draw();
    this.#onChange();
  }

  #begin(event) {
    if (this.#pointer !== null || event.button !== 0) return;
    event.preventDefault();
    this.#pointer = event.pointerId;
    // A pointer that a script made up cannot be captured.
    try {
      this.element.setPointerCapture(event.pointerId);
    } catch {
      // Then the stroke ends at the edge.
    }
    if (this.#strokes.length === STROKES_MAX) this.#strokes.shift();
    this.#strokes.push([this.#place(event)]);
    this.#draw();
  }

  #go(event) {
    if (event.pointerId !== this.#pointer) return;
    const stroke = this.#strokes.at(-1);
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length > 0 ? all : [event]) {
      if (stroke.length < POINTS_MAX) stroke.push(this.#place(one));
    }
    this.#draw();
    this.#onChange();
  }

  #end(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#onChange();
  }

  #place({ clientX, clientY }) {
    const { left, top, width, height } = this.element.getBoundingClientRect();
    return { x: ((clientX - left) / width) * SIZE, y: ((clientY - top) / height) * SIZE };
  }

  #draw() {
    const context = this.#context;
    context.fillStyle = "#000";
    context.fillRect(0, 0, SIZE, SIZE);
    Object.assign(context, { strokeStyle: "#fff", lineWidth: STROKE, lineCap: "round", lineJoin: "round" });
    for (const stroke of this.#strokes) {
      context.beginPath();
      context.moveTo(stroke[0].x, stroke[0].y);
      // A point is a line of no length, which has round ends.
      for (const { x, y } of stroke.length > 1 ? stroke.slice(1) : stroke) context.lineTo(x, y);
      context.stroke();
    }
  }
}
