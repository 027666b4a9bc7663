// undici's client behind the command line that every peer has; see tests/README.md.

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

import { ping, runClient, tooBigForClient } from "./page_client.mjs";

// Found through NODE_PATH, which only require() looks at.
const undici = createRequire(import.meta.url)("undici");

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    deflate: { type: "string" }, // It always makes the same offer.
    "max-message": { type: "string", default: String(32 << 20) },
    seed: { type: "string", default: "1" },
  },
});

const dispatcher = new undici.Agent({ webSocket: { maxPayloadSize: Number(options["max-message"]) } });

// What the script of the page finds there.
globalThis.WebSocket = class extends undici.WebSocket {
  constructor(url, protocols) {
    super(url, { protocols, dispatcher });
  }
};

const nextPong = (ws) =>
  new Promise((resolve) => {
    const heard = ({ websocket, payload }) => {
      if (websocket !== ws) return;
      unsubscribe("undici:websocket:pong", heard);
      resolve(payload);
    };
    subscribe("undici:websocket:pong", heard);
  });

const [, base, scenario] = positionals;
runClient(base, scenario, options.seed, (page) => ({
  ping: ping(page, (ws, payload) => undici.ping(ws, Buffer.from(payload)), nextPong),
  "too-big-for-client": tooBigForClient(page),
}));
