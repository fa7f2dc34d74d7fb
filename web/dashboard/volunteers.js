// The volunteers as a table that sorts by any column; on small screens, as cards.

import * as words from "../words.js";
import { confirmed } from "./confirm.js";
import { at, make, show } from "./dom.js";
import { carryOut } from "./now.js";

const STATES = {
  computing: "computing", waiting: "waiting", uploading: "uploading", silent: "silent", paused: "paused by its visitor",
};

/** The columns: a heading, the value to sort by, and the text. `first` is the direction of the first click. */
const COLUMNS = [
  { key: "name", label: "Volunteer", value: (one) => one.agent.toLowerCase(), text: name, first: 1 },
  { key: "state", label: "State", value: (one) => one.state, text: (one) => STATES[one.state] ?? one.state, first: 1 },
  { key: "cores", label: "Cores", value: (one) => one.cores, text: (one) => words.count(one.cores) },
  { key: "speed", label: "Examples/s", value: (one) => one.examples_per_second, text: (one) => words.rate(one.examples_per_second) },
  { key: "share", label: "Brings", value: (one) => one.share, text: (one) => words.share(one.share) },
  { key: "traffic", label: "Costs", value: (one) => one.sent + one.received, text: traffic },
  { key: "waiting", label: "Waits", value: (one) => one.waiting, text: (one) => words.wholeShare(one.waiting) },
  { key: "late", label: "Late", value: (one) => one.late, text: (one) => words.count(one.late) },
  { key: "checks", label: "Checks passed", value: (one) => one.passed ?? -1, text: (one) => (one.passed === null ? "–" : words.count(one.passed)) },
  { key: "heard", label: "Last heard", value: (one) => one.heard_seconds, text: (one) => (one.heard_seconds < 2 ? "now" : `${words.duration(one.heard_seconds)} ago`), first: 1 },
];

const rows = new Map();
let order = { key: "share", direction: -1 };
let body = null;
let volunteers = [];

export function showVolunteers({ operator, status }) {
  volunteers = operator.volunteers;
  const others = volunteers.filter((one) => !one.local).length;
  at("volunteers-empty").hidden = others > 0;
  at("volunteers-share").hidden = status.phase === "finished";
  show("volunteers-none", nobody(operator, status));
  at("volunteers-table").hidden = volunteers.length === 0;
  const hidden = operator.volunteers_count - volunteers.length;
  show("volunteers-note", hidden > 0 ? `The first ${words.count(volunteers.length)} of ${words.count(operator.volunteers_count)} are shown.` : "");
  body ??= table();
  refresh();
  showDeparted(operator.departed);
  showBans(operator.bans);
}

/** Why the table has no volunteers. */
function nobody({ gateways, departed }, { phase }) {
  if (phase === "finished") return "The training is over, and nobody is connected any more.";
  const elsewhere = gateways.reduce((sum, gateway) => sum + gateway.volunteers, 0);
  if (elsewhere > 0) return `No volunteers at this address; ${words.count(elsewhere)} at gateways.`;
  return departed.length > 0 ? "No volunteers at present." : "No volunteers yet.";
}

function name(one) {
  return one.local ? "This machine, the coordinator's own worker" : one.agent;
}

function traffic(one) {
  return one.local ? "–" : `${words.megabytes(one.sent)} down,\n${words.megabytes(one.received)} up`;
}

/** Makes the table without rows. Roles are named because the cards of small screens lose them otherwise. */
function table() {
  const heads = COLUMNS.map(({ key, label }) => {
    const button = make("button", { type: "button", class: "sort" }, label);
    button.addEventListener("click", () => sortBy(key));
    return make("th", { scope: "col", role: "columnheader", "data-key": key }, button);
  });
  const head = make("tr", { role: "row" }, ...heads, make("th", { scope: "col", role: "columnheader" }, make("span", { class: "unseen" }, "Actions")));
  const choice = make("select", { id: "sort" }, ...COLUMNS.map(({ key, label }) => make("option", { value: key }, label)));
  choice.value = order.key;
  choice.addEventListener("change", () => sortBy(choice.value));
  const content = make("tbody", { role: "rowgroup" });
  at("volunteers-table").replaceChildren(
    make("p", { class: "sort-choice" }, make("label", { for: "sort" }, "Sort by "), choice),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of volunteers" },
      make("table", { class: "people", role: "table", "aria-labelledby": "volunteers-heading" },
        make("thead", { role: "rowgroup" }, head), content)));
  return content;
}

function sortBy(key) {
  const { first = -1 } = COLUMNS.find((column) => column.key === key);
  order = { key, direction: order.key === key ? -order.direction : first };
  at("sort").value = key;
  refresh();
}

function refresh() {
  const column = COLUMNS.find(({ key }) => key === order.key);
  const compare = (one, other) => {
    const [left, right] = [column.value(one), column.value(other)];
    const apart = left < right ? -1 : left > right ? 1 : one.session - other.session;
    return left === right ? apart : order.direction * apart;
  };
  const sorted = volunteers.toSorted(compare);
  for (const head of body.parentElement.querySelectorAll("th[data-key]")) {
    const { key } = head.dataset;
    head.setAttribute("aria-sort", key !== order.key ? "none" : order.direction > 0 ? "ascending" : "descending");
  }
  const present = new Set();
  for (const one of sorted) {
    present.add(one.session);
    if (!rows.has(one.session)) rows.set(one.session, row(one));
    fill(rows.get(one.session), one);
  }
  for (const [session, known] of rows) {
    if (present.has(session)) continue;
    known.element.remove();
    rows.delete(session);
  }
  place(sorted.map(({ session }) => rows.get(session).element));
}

/** Puts the rows in order. A row that has the focus stays where it is, because moving it would lose the focus. */
function place(elements) {
  const focused = document.activeElement?.closest?.("tr");
  const keepsPlaces = focused?.parentElement === body;
  let next = body.firstElementChild;
  for (const element of elements) {
    if (element === next) {
      next = next.nextElementSibling;
    } else if (!keepsPlaces || element.parentElement !== body) {
      body.insertBefore(element, keepsPlaces ? null : next);
    }
  }
}

function row(one) {
  const cells = COLUMNS.map(({ label }, index) => make(index === 0 ? "th" : "td", {
    "data-label": label, role: index === 0 ? "rowheader" : "cell", ...(index === 0 ? { scope: "row" } : {}),
  }));
  const element = make("tr", { role: "row" }, ...cells);
  const texts = cells.map((cell) => cell.appendChild(make("span")));
  if (!one.local) {
    cells[0].append(make("span", { class: "note" }, `${one.address}, no. ${one.session}`));
    const remove = make("button", { type: "button", class: "small", "data-does": "remove" }, "Remove");
    const ban = make("button", { type: "button", class: "small", "data-does": "ban" }, "Ban");
    for (const button of [remove, ban]) button.append(make("span", { class: "unseen" }, ` ${one.agent}, number ${one.session}`));
    remove.addEventListener("click", () => removeOne(one));
    ban.addEventListener("click", () => banOne(one));
    element.append(make("td", { role: "cell", class: "row-actions" }, remove, ban));
  } else {
    element.append(make("td", { role: "cell", class: "row-actions" }));
  }
  return { element, texts };
}

function fill({ element, texts }, one) {
  COLUMNS.forEach(({ text }, index) => show(texts[index], text(one)));
  if (element.dataset.state !== one.state) element.dataset.state = one.state;
}

async function removeOne(one) {
  const wanted = await confirmed({
    title: `Remove ${one.agent}?`,
    text: "Its unfinished work goes to others; nothing is lost. It may come back when its visitor presses Start again.",
    yes: "Remove",
  });
  if (wanted) await away("remove", one);
}

async function banOne(one) {
  const there = volunteers.filter(({ local, address }) => !local && address === one.address).length;
  const others = there > 1 ? ` ${words.plural(there, "volunteer is", "volunteers are")} sent away: all at ${one.address}.` : "";
  const wanted = await confirmed({
    title: `Ban ${one.agent} (${one.address})?`,
    text: `Nobody at ${one.address} can help or get data until you lift the ban or the coordinator ends.${others} Their `
      + "unfinished work goes to others; nothing is lost.",
    yes: "Ban",
  });
  if (wanted) await away("ban", one);
}

async function away(action, { session }) {
  await carryOut(action, { session });
  // The row that had the focus is gone, or soon will be.
  at("volunteers").focus();
}

let departedShown = "";

function showDeparted(departed) {
  at("departed").hidden = departed.length === 0;
  show("departed-summary", `Who left (${words.count(departed.length)})`);
  const state = JSON.stringify(departed.map(({ session, why }) => [session, why]));
  if (state === departedShown && !at("departed").open) return;
  departedShown = state;
  const head = ["Volunteer", "Why", "When", "Examples"].map((text) => make("th", { scope: "col" }, text));
  const lines = departed.map(({ session, agent, address, why, seconds, examples, failed }) => make("tr", failed ? { class: "failed" } : {},
    make("th", { scope: "row" }, agent, make("span", { class: "note" }, ` ${address}, no. ${session}`)),
    make("td", {}, failed ? `Dismissed: ${why}` : why), make("td", {}, `${words.duration(seconds)} ago`), make("td", {}, words.count(examples))));
  at("departed-table").replaceChildren(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Who left" },
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines))));
}

let bansShown = "";

function showBans(bans) {
  const state = JSON.stringify(bans);
  if (state === bansShown) return;
  bansShown = state;
  at("bans").hidden = bans.length === 0;
  show("bans-summary", `Bans (${words.count(bans.length)})`);
  at("bans-list").replaceChildren(...bans.map(({ address, agent }) => {
    const lift = make("button", { type: "button", class: "small" }, "Lift the ban", make("span", { class: "unseen" }, ` of ${address}`));
    lift.addEventListener("click", async () => {
      await carryOut("unban", { address });
      at("volunteers").focus();
    });
    return make("li", {}, `${address} (${agent}) `, lift);
  }));
}
