// The page that tries a network: the network answers what visitors draw, type or paste.

import { mount } from "./app.js";

document.getElementById("no-script")?.remove();
mount(document.getElementById("try"));
