// The random number by which the coordinator knows this browser's volunteer again. It says nothing about the visitor and
// goes to the coordinator only.
//
// Each tab that lends has one of its own. Where the browser can tell which are taken, a tab takes the first that is
// free. Elsewhere all tabs begin with the same, and the coordinator has the older one take another.

const KEY = "shoal.volunteers";
/** Tabs of one browser that are known again. */
const TOKENS_MAX = 16;
const TOKEN_BYTES = 16;
const TOKEN = /^[0-9a-f]{32}$/;

/** Takes a token for this tab, {token, release}: 32 hexadecimal digits, and what gives it back. */
export async function takeToken() {
  if (navigator.locks === undefined) return { token: at(0), release() {} };
  for (let number = 0; number < TOKENS_MAX; number += 1) {
    const release = await lock(`${KEY}.${number}`);
    if (release !== null) return { token: at(number), release };
  }
  return { token: draw(), release() {} };
}

/** The kept token of that number; a new one, which is kept if the browser keeps anything, where there is none. */
function at(number) {
  const tokens = read();
  if (!TOKEN.test(tokens[number])) {
    tokens[number] = draw();
    write(tokens);
  }
  return tokens[number];
}

function draw() {
  const bytes = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Locks that name for this tab; what unlocks it, or null if another tab has it. */
function lock(name) {
  return new Promise((taken) => {
    const hold = (held) => {
      if (held === null) return taken(null);
      return new Promise((release) => taken(release));
    };
    navigator.locks.request(name, { ifAvailable: true }, hold).catch(() => taken(null));
  });
}

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return Array.isArray(kept) ? kept.slice(0, TOKENS_MAX) : [];
  } catch {
    return [];
  }
}

function write(tokens) {
  try {
    localStorage.setItem(KEY, JSON.stringify(tokens));
  } catch {
    // The browser keeps nothing for this page: the token is this tab's only, as long as it lends.
  }
}
