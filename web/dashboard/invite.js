// The address to share, as a text to copy and as a QR code.

import { at, make, show } from "./dom.js";

const LOOPBACK = /^(localhost|127\.|\[::1\])/;

let shown = "";

/** Chooses the link that others can open: the page's own address if it is no loopback address, else a link with one. */
export function showInvitation({ links, status }) {
  const state = JSON.stringify([links, status.data_bytes]);
  if (state === shown) return;
  shown = state;
  const hosts = links.map((link) => new URL(link).host);
  const own = hosts.indexOf(location.host);
  const reachable = hosts.findIndex((host) => !LOOPBACK.test(host));
  const isPublic = !LOOPBACK.test(location.host);
  let chosen = links[Math.max(reachable, 0)] ?? "";
  if (isPublic) {
    chosen = own >= 0 ? links[own] : new URL(".", location.href).href + (new URL(links[0] ?? location.href).hash);
  }
  const link = links.indexOf(chosen);
  at("address").href = chosen;
  show("address", chosen);
  const onlyHere = !isPublic && reachable < 0;
  at("qr").hidden = link < 0 || onlyHere;
  if (link >= 0) at("qr").src = `api/operator/qr.svg?link=${link}`;
  at("invite-text").replaceChildren(...onlyHere
    ? ["Only this machine can open the address. To let others in, start with ", make("code", {}, "--listen 0.0.0.0:8080"),
      ", or ", make("code", {}, "demo --lan"), "."]
    : ["Whoever opens this address can lend a device:"]);
  const others = links.filter((one) => one !== chosen && !LOOPBACK.test(new URL(one).host));
  show("invite-others", others.length === 0 ? "" : `Also at ${others.join(", ")}.`);
}

at("copy").addEventListener("click", async () => {
  const { href } = at("address");
  try {
    await navigator.clipboard.writeText(href);
    show("copied", "Copied.");
  } catch {
    // Without encryption, pages of other machines may not copy. The selected text can be copied by hand.
    getSelection().selectAllChildren(at("address"));
    show("copied", "Press Ctrl-C to copy the selected address.");
  }
});
