// The visitor's choices, kept in this browser. Lending itself is never kept: it begins with Start, in each tab anew.

const KEY = "shoal.choices";
/** The protocol's limit on the cores of one volunteer. */
const CORES_MAX = 256;

/** How many cores this device has, as far as the browser says. */
export const coresMax = Math.min(Math.max(navigator.hardwareConcurrency || 1, 1), CORES_MAX);

const FIELDS = ["cores", "effort", "traffic", "battery", "awake"];
const at = (id) => document.getElementById(id);
const value = (field) => (field.type === "checkbox" ? field.checked : field.value);

/** Fills the controls with the kept choices, and calls `onChange(name)` when one of them changes. */
export function restore(onChange) {
  at("cores").max = String(coresMax);
  at("cores").value = String(Math.max(1, coresMax - 1));
  const { connection } = navigator;
  if (connection?.type === "cellular" || connection?.saveData) at("traffic").value = "100";
  const kept = read();
  for (const name of FIELDS) {
    const field = at(name);
    if (name in kept) {
      if (field.type === "checkbox") field.checked = Boolean(kept[name]);
      else if (kept[name] !== "") field.value = kept[name];
      if (field.value === "") field.selectedIndex = 0;
    }
    field.addEventListener("change", () => {
      write();
      onChange(name);
    });
  }
}

/** The choices now. */
export const choices = () => ({
  cores: Number(at("cores").value),
  effort: Number(at("effort").value),
  trafficBytes: Number(at("traffic").value) * 1e6,
  pauseOnBattery: at("battery").checked,
  keepAwake: at("awake").checked,
});

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

function write() {
  try {
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(FIELDS.map((name) => [name, value(at(name))]))));
  } catch {
    // The browser keeps nothing for this page; the choices hold for this tab.
  }
}
