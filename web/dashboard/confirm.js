// Asks before something that cannot be undone, and says what would be lost.

import { at, show } from "./dom.js";

let answer = () => {};

const end = (choice) => {
  at("confirm").close();
  answer(choice);
};

at("confirm-yes").addEventListener("click", () => end(true));
at("confirm-no").addEventListener("click", () => end(false));
// Escape closes the dialog, and means no.
at("confirm").addEventListener("cancel", () => answer(false));

/** Whether the operator wants it. `yes` names the action, `text` says what is lost. */
export function confirmed({ title, text, yes }) {
  show("confirm-title", title);
  show("confirm-text", text);
  show("confirm-yes", yes);
  at("confirm").showModal();
  at("confirm-no").focus();
  return new Promise((resolve) => { answer = resolve; });
}
