// Node's `ws` behind the command line that every peer has; see tests/README.md.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

import { numbers } from "./numbers.mjs";

// Found through NODE_PATH, which only require() looks at.
const { WebSocket, WebSocketServer } = createRequire(import.meta.url)("ws");

const LONG_REASON = "é".repeat(61) + "!"; // 123 bytes, the longest there can be

const SUBPROTOCOL = "interop.two";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    deflate: { type: "string" },
    "max-message": { type: "string", default: String(32 << 20) },
    seed: { type: "string", default: "1" },
  },
});
const maxPayload = Number(options["max-message"]);

// `a_b; c=9` in the words of ws: { aB: true, c: 9 }.
function deflateOptions(defaults) {
  if (options.deflate === undefined) return false;
  const chosen = { threshold: 0, ...defaults };
  for (const param of options.deflate.split(";").map((p) => p.trim()).filter(Boolean)) {
    const [name, value] = param.split("=");
    chosen[name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())] = value ? Number(value) : true;
  }
  return chosen;
}

// Server

const handlers = {
  "/echo": (ws) => ws.on("message", (data, binary) => ws.send(data, { binary })),

  "/fragments": (ws) =>
    ws.on("message", (data, binary) => {
      const third = Math.floor(data.length / 3);
      ws.send(data.subarray(0, third), { binary, fin: false });
      ws.send("", { binary, fin: false });
      ws.send(data.subarray(third), { binary, fin: true });
    }),

  "/ping": (ws) =>
    ws.on("message", async (data, binary) => {
      ws.ping(data);
      const [payload] = await once(ws, "pong");
      if (payload.equals(data)) ws.send(data, { binary });
      else ws.close(1002, "the pong is not the ping's");
    }),

  "/close": (ws, query) => ws.once("message", () => ws.close(Number(query.get("code")), query.get("reason"))),

  "/random": (ws, query) => {
    const below = numbers(Number(query.get("seed")));
    ws.on("message", (data, binary) => sendCut(ws, below, data, binary));
  },
};

// The message whole, compressed or not, or in fragments, of which some may be empty.
function sendCut(ws, below, data, binary) {
  if (below(3) === 0) return ws.send(data, { binary, compress: below(2) === 0 });
  const cuts = Array.from({ length: below(1 << below(6)) }, () => below(data.length + 1));
  const ends = [...cuts.sort((a, b) => a - b), data.length];
  ends.forEach((end, n) => ws.send(data.subarray(ends[n - 1] ?? 0, end), { binary, fin: n === ends.length - 1 }));
}

function server() {
  const listener = new WebSocketServer({
    host: "127.0.0.1",
    port: 0,
    maxPayload,
    perMessageDeflate: deflateOptions({}),
    handleProtocols: (offered) => offered.has(SUBPROTOCOL) && SUBPROTOCOL,
    verifyClient: ({ req }, answer) => {
      const { pathname } = new URL(req.url, "ws://localhost");
      if (pathname === "/refuse") answer(false, 403, "no entry");
      else if (!(pathname in handlers)) answer(false, 404, "no such path");
      else answer(true);
    },
  });
  listener.on("listening", () => console.log("PORT", listener.address().port));
  listener.on("connection", (ws, request) => {
    const { pathname, searchParams } = new URL(request.url, "ws://localhost");
    ws.on("error", (error) => console.error(error.message));
    ws.on("close", (code, reason) => console.log(`CLOSED ${code} ${reason}`.trim()));
    handlers[pathname](ws, searchParams);
  });
  process.stdin.resume().on("end", () => process.exit(0));
}

// Client

class Client {
  constructor(url, protocols) {
    // An absent clientMaxWindowBits would be offered all the same; false is not.
    this.ws = new WebSocket(url, protocols, { maxPayload, perMessageDeflate: deflateOptions({ clientMaxWindowBits: false }) });
    this.ws.on("upgrade", (response) =>
      console.log(`EXTENSIONS ${response.headers["sec-websocket-extensions"] ?? ""}`));
    this.messages = [];
    this.ended = new Promise((resolve) => this.ws.on("close", (code, reason) => resolve({ code, reason: `${reason}` })));
    this.error = null;
    this.ws.on("error", (error) => (this.error = error));
    this.ws.on("message", (data, binary) => {
      this.messages.push(binary ? data : data.toString());
      this.wake?.();
    });
    this.ws.on("close", () => this.wake?.());
  }

  async open() {
    await Promise.race([once(this.ws, "open"), this.ended]);
    if (this.ws.readyState !== WebSocket.OPEN) throw this.error ?? new Error("not opened");
  }

  async receive() {
    while (this.messages.length === 0) {
      if (this.ws.readyState === WebSocket.CLOSED) throw this.error ?? new Error("closed while a message was due");
      await new Promise((resolve) => (this.wake = resolve));
    }
    return this.messages.shift();
  }

  async exchange(...messages) {
    for (const message of messages) {
      this.ws.send(message);
      same(await this.receive(), message);
    }
  }

  async ping(payload) {
    this.ws.ping(payload);
    const [got] = await once(this.ws, "pong");
    same(got, payload);
  }

  sendFragments(pieces, binary) {
    pieces.forEach((piece, n) => this.ws.send(piece, { binary, fin: n === pieces.length - 1 }));
  }

  async close(code, reason) {
    this.ws.close(code, reason);
    return this.ended;
  }
}

function same(got, sent) {
  const equal = typeof sent === "string" ? got === sent : Buffer.isBuffer(got) && got.equals(sent);
  if (!equal) throw new Error(`sent ${brief(sent)}, got ${brief(got)}`);
}

const brief = (value) => `${typeof value} of ${value.length}: ${JSON.stringify(value.toString("latin1").slice(0, 20))}`;

const FRAGMENTED = "Fragmente: ä寿🍣".repeat(20);

const scenarios = {
  text: ["/echo", (c) => c.exchange("Hello, world", "a".repeat(125), "b".repeat(126), "c".repeat(65535), "d".repeat(65536))],

  multibyte: ["/echo", (c) =>
    c.exchange("\0\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}", "Zoë isst 寿司 🍣 ".repeat(5000))],

  binary: ["/echo", (c) =>
    c.exchange(Buffer.from([...Array(256).keys()]), ...[1, 125, 126, 127, 65535, 65536].map((n) => randomBytes(n)))],

  empty: ["/echo", (c) => c.exchange("", Buffer.alloc(0), "after", Buffer.alloc(0))],

  // Empty first, middle and last fragments, characters cut in two, and a ping in between.
  fragments: ["/echo", async (c) => {
    const data = Buffer.from(FRAGMENTED);
    for (const piece of ["", data.subarray(0, 12)]) c.ws.send(piece, { binary: false, fin: false });
    await c.ping(Buffer.from("between"));
    const rest = [""];
    for (let at = 12; at < data.length; at += 7) rest.push(data.subarray(at, at + 7));
    c.sendFragments([...rest, ""], false);
    same(await c.receive(), FRAGMENTED);

    const blob = randomBytes(100_000);
    c.sendFragments([blob.subarray(0, 1), blob.subarray(1, 70_000), Buffer.alloc(0), blob.subarray(70_000)], true);
    same(await c.receive(), blob);
  }],

  "fragments-back": ["/fragments", (c) => c.exchange(FRAGMENTED, randomBytes(100_000))],

  burst: ["/echo", async (c) => {
    const sent = Array.from({ length: 1000 }, (_, n) => `message ${n}`);
    for (const message of sent) c.ws.send(message);
    for (const message of sent) same(await c.receive(), message);
  }],

  ping: ["/echo", async (c) => {
    for (const payload of [Buffer.alloc(0), Buffer.from("ping"), randomBytes(125)]) await c.ping(payload);
  }],

  pong: ["/ping", (c) => c.exchange("", "one", "x".repeat(125), randomBytes(125))],

  "1-mib": ["/echo", (c) => c.exchange("ö".repeat(1 << 19), randomBytes(1 << 20))],

  "16-mib": ["/echo", (c) => c.exchange(randomBytes(16 << 20), "0123456789abcdef".repeat(1 << 20))],

  subprotocol: ["/echo", async (c) => {
    assert.equal(c.ws.protocol, SUBPROTOCOL);
    await c.exchange("spoken");
  }, ["unknown.one", SUBPROTOCOL]],

  // Messages that are small more often than large, and mostly have something in common with others.
  random: [`/random?seed=${options.seed}`, async (c) => {
    const below = numbers(Number(options.seed));
    const words = ['{"id":', "寿司", "🍣", "Zoë ", "true,", "null}", "\0", " "];
    const text = (size) => {
      let made = "";
      while (made.length < size) made += below(3) ? words[below(words.length)] : below(1 << 20);
      const bytes = Buffer.from(made).subarray(0, size);
      return new TextDecoder().decode(bytes, { stream: true }); // without what was cut in two
    };
    for (let number = 0; number < 16; number += 1) {
      const magnitude = below(21);
      const size = below(4) ? below((1 << magnitude) + 1) : [0, 1, 125, 126, 65535, 65536, 1 << 20][below(7)];
      const kind = below(4);
      let sent = kind === 1 ? Buffer.alloc(size, "=") : text(size);
      if (kind === 0) sent = Buffer.from(Uint8Array.from({ length: size }, () => below(256)));
      if (kind === 2) sent = Buffer.from(sent);
      const binary = typeof sent !== "string";
      sendCut(c.ws, below, Buffer.from(sent), binary);
      same(await c.receive(), sent);
    }
  }],

  "close-by-client": ["/echo", async (c) => {
    await c.exchange("last");
    assert.equal((await c.close(4321, LONG_REASON)).code, 4321);
  }],

  "close-by-server": ["/close?code=1001&reason=bye", async (c) => {
    c.ws.send("go");
    assert.deepEqual(await c.ended, { code: 1001, reason: "bye" });
  }],

  "too-big-for-server": ["/echo", async (c) => {
    c.ws.send(Buffer.alloc(2048));
    assert.equal((await c.ended).code, 1009);
  }],

  // The server says which code it was sent.
  "too-big-for-client": ["/echo", async (c) => {
    c.ws.send(Buffer.alloc(2048));
    await c.ended;
    assert.match(c.error?.message ?? "no error", /max payload/i);
  }],
};

async function refused(base) {
  const ws = new WebSocket(`${base}/refuse`);
  const [, response] = await once(ws, "unexpected-response");
  assert.equal(response.statusCode, 403);
  assert.equal(Buffer.concat(await response.toArray()).toString().trim(), "no entry");
}

async function client(base, scenario) {
  if (scenario === "refused") return refused(base);
  const [path, run, protocols = []] = scenarios[scenario];
  const c = new Client(base + path, protocols);
  await c.open();
  await run(c);
  if (c.ws.readyState === WebSocket.OPEN) assert.equal((await c.close(1000)).code, 1000);
}

const [role, ...rest] = positionals;
if (role === "server") {
  server();
} else {
  client(...rest).then(
    () => process.exit(0),
    (error) => {
      console.error(`${error.message}`.replace(/\s+/g, " ").slice(0, 300));
      process.exit(1);
    },
  );
}
