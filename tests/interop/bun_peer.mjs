// Bun's client and server behind the command line that every peer has; see tests/README.md.

import { parseArgs } from "node:util";

import { numbers } from "./numbers.mjs";
import { ping, runClient } from "./page_client.mjs";

const SUBPROTOCOL = "interop.two";

const { values: options, positionals } = parseArgs({
  args: Bun.argv.slice(2),
  allowPositionals: true,
  options: {
    deflate: { type: "string" },
    "max-message": { type: "string", default: String(32 << 20) },
    seed: { type: "string", default: "1" },
  },
});
const compressed = options.deflate !== undefined;

// Server

const handlers = {
  "/echo": (ws, message) => ws.send(message, compressed),

  "/ping": (ws, message) => {
    ws.data.waiting = message;
    ws.ping(message);
  },

  "/close": (ws) => ws.close(Number(ws.data.query.get("code")), ws.data.query.get("reason")),

  // Compressed or not, at random. There are no fragments.
  "/random": (ws, message) => ws.send(message, compressed && ws.data.below(2) === 0),
};

function upgrade(request, server) {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/refuse") return new Response("no entry", { status: 403 });
  if (!(pathname in handlers)) return new Response("no such path", { status: 404 });
  const offered = request.headers.get("Sec-WebSocket-Protocol") ?? "";
  const headers = offered.includes(SUBPROTOCOL) ? { "Sec-WebSocket-Protocol": SUBPROTOCOL } : {};
  const data = { handle: handlers[pathname], query: searchParams, below: numbers(Number(searchParams.get("seed"))) };
  if (!server.upgrade(request, { data, headers })) return new Response("no upgrade", { status: 400 });
}

function server() {
  const listener = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: upgrade,
    websocket: {
      maxPayloadLength: Number(options["max-message"]),
      backpressureLimit: 64 << 20,
      perMessageDeflate: compressed && { compress: "dedicated", decompress: "dedicated" },
      idleTimeout: 0,
      message: (ws, message) => ws.data.handle(ws, message),
      pong: (ws, payload) => {
        const { waiting } = ws.data;
        if (waiting === undefined) return;
        delete ws.data.waiting;
        if (Buffer.from(waiting).equals(Buffer.from(payload))) ws.send(waiting, compressed);
        else ws.close(1002, "the pong is not the ping's");
      },
      close: (ws, code, reason) => console.log(`CLOSED ${code} ${reason}`.trim()),
    },
  });
  console.log("PORT", listener.port);
  process.stdin.resume().on("end", () => process.exit(0));
}

// Client

const Page = globalThis.WebSocket;
globalThis.WebSocket = class extends Page {
  constructor(url, protocols) {
    super(url, { protocols, perMessageDeflate: compressed });
  }
};

const nextPong = (ws) =>
  new Promise((resolve) => ws.addEventListener("pong", ({ data }) => resolve(data), { once: true }));

const [role, base, scenario] = positionals;
if (role === "server") {
  server();
} else {
  runClient(base, scenario, options.seed, (page) => ({
    ping: ping(page, (ws, payload) => ws.ping(payload), nextPong),
  }));
}
