// The client of a runtime that has the interface of a page: runs browser_peer.js outside a browser.

import { readFileSync } from "node:fs";

// Prints what a client prints, and exits. `further` adds scenarios to those of the script.
export function runClient(base, scenario, seed, further) {
  const script = new Function(readFileSync(new URL("browser_peer.js", import.meta.url), "utf8"));
  script(base, scenario, Number(seed), ({ extensions, error }) => {
    if (error !== undefined) {
      console.error(`${error}`.replace(/\s+/g, " ").slice(0, 300));
      process.exit(1);
    }
    console.log(`EXTENSIONS ${extensions ?? ""}`.trim());
    process.exit(0);
  }, further);
}

// The scenario of a client that takes at most 1,024 bytes. The server reports the code that it was sent.
export const tooBigForClient = ({ check }) => ["/echo", async (c) => {
  c.ws.send(new Uint8Array(2048));
  const { code } = await c.ended;
  check(c.messages.length === 0, "this client took a message over its own limit");
  check(code === 1009 || code === 1006, `the end has code ${code}`);
}];

// The scenario `ping`: `send` sends a ping, `next` returns the payload of the next pong.
export const ping = ({ same, noise }, send, next) => ["/echo", async (c) => {
  for (const payload of [new Uint8Array(0), new TextEncoder().encode("ping"), noise(125)]) {
    const pong = next(c.ws);
    send(c.ws, payload);
    await same(await pong, payload);
  }
}];
