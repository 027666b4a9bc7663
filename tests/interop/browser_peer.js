// The client's scenarios for the interface that a page has, as the body of a function. It is called with a URL, a
// scenario, a number for what is random, and a function that gets { extensions, error } at the end;
// see tests/README.md. A page has no pings, fragments or limits. Outside a browser, a fifth argument adds
// scenarios: a function that gets helpers of this script and returns them.

const [base, scenario, seed, done, further = () => ({})] = arguments;

const LONG_REASON = "é".repeat(61) + "!"; // 123 bytes, the longest there can be
const FIREFOX = /Firefox/.test(globalThis.navigator?.userAgent);
const FRAGMENTED = "Fragmente: ä寿🍣".repeat(20);

class Client {
  constructor(url, protocols = []) {
    this.ws = new WebSocket(url, protocols);
    this.ws.binaryType = "arraybuffer";
    this.messages = [];
    this.ended = new Promise((resolve) => (this.ws.onclose = resolve));
    this.ws.onmessage = ({ data }) => {
      this.messages.push(data);
      this.wake?.();
    };
    this.ended.then(() => this.wake?.());
  }

  async open() {
    const opened = new Promise((resolve) => (this.ws.onopen = resolve));
    const first = await Promise.race([opened, this.ended]);
    if (first.type === "close") throw new Error(`not opened: ${first.code}`);
  }

  async receive() {
    while (this.messages.length === 0) {
      if (this.ws.readyState === WebSocket.CLOSED) throw new Error("closed while a message was due");
      await new Promise((resolve) => (this.wake = resolve));
    }
    return this.messages.shift();
  }

  async exchange(...messages) {
    for (const message of messages) {
      this.ws.send(message);
      await same(await this.receive(), message);
    }
  }

  async close(code, reason, due = code) {
    this.ws.close(code, reason);
    this.endsWith(await this.ended, due);
  }

  endsWith(event, code, reason, wasClean = event.wasClean) {
    check(wasClean, `the end was not a clean one: ${event.code}`);
    check(event.code === code, `the end has code ${event.code}, not ${code}`);
    check(reason === undefined || event.reason === reason, `the end has reason ${event.reason}`);
  }
}

function check(holds, reason) {
  if (!holds) throw new Error(reason);
}

// Text is compared as text; a Blob, a buffer or a view of one by their bytes, a Blob with a Blob only.
async function same(got, sent) {
  let equal = got === sent;
  if (typeof got !== "string" && typeof sent !== "string") {
    const [left, right] = await Promise.all([bytes(got), bytes(sent)]);
    equal = left.length === right.length && left.every((byte, at) => byte === right[at]);
  }
  check(equal, `sent ${brief(sent)}, got ${brief(got)}`);
}

async function bytes(value) {
  return new Uint8Array(value instanceof Blob ? await value.arrayBuffer() : value);
}

function brief(value) {
  if (typeof value === "string") return `text of ${value.length}: ${JSON.stringify(value.slice(0, 20))}`;
  return `${value.constructor.name} of ${value.size ?? value.byteLength}`;
}

function noise(size) {
  const made = new Uint8Array(size);
  // No more than this is given at once.
  for (let at = 0; at < size; at += 65536) crypto.getRandomValues(made.subarray(at, at + 65536));
  return made;
}

// Numbers that look random: a generator with the seed's state, of those below a limit.
function numbers(start) {
  let state = start | 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

// Messages that are small more often than large, and mostly have something in common with others.
function drawn(below) {
  const words = ['{"id":', "寿司", "🍣", "Zoë ", "true,", "null}", "\0", " "];
  const magnitude = below(21);
  const size = below(4) ? below((1 << magnitude) + 1) : [0, 1, 125, 126, 65535, 65536, 1 << 20][below(7)];
  const kind = below(4);
  if (kind === 0) return Uint8Array.from({ length: size }, () => below(256));
  if (kind === 1) return new Blob([new Uint8Array(size).fill(61)]);
  let text = "";
  while (text.length < size) text += below(3) ? words[below(words.length)] : below(1 << 20);
  const encoded = new TextEncoder().encode(text).subarray(0, size);
  return kind === 2 ? encoded : new TextDecoder().decode(encoded, { stream: true }); // without what was cut in two
}

const scenarios = {
  text: ["/echo", (c) => c.exchange("Hello, world", "a".repeat(125), "b".repeat(126), "c".repeat(65535), "d".repeat(65536))],

  multibyte: ["/echo", (c) =>
    c.exchange("\0\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}", "Zoë isst 寿司 🍣 ".repeat(5000))],

  // As a buffer, as a view of a part of one, and as a Blob.
  binary: ["/echo", async (c) => {
    const sizes = [1, 125, 126, 127, 65535, 65536];
    await c.exchange(Uint8Array.from(Array(256).keys()).buffer, ...sizes.map(noise), noise(300).subarray(100, 200));
    c.ws.binaryType = "blob";
    for (const sent of sizes.map((size) => new Blob([noise(size)]))) {
      c.ws.send(sent);
      const got = await c.receive();
      check(got instanceof Blob, `${brief(got)} came, not a Blob`);
      await same(got, sent);
    }
  }],

  empty: ["/echo", (c) => c.exchange("", new ArrayBuffer(0), "after", new Blob([]), "")],

  "fragments-back": ["/fragments", (c) => c.exchange(FRAGMENTED, noise(100_000))],

  burst: ["/echo", async (c) => {
    const sent = Array.from({ length: 1000 }, (_, n) => `message ${n}`);
    for (const message of sent) c.ws.send(message);
    for (const message of sent) await same(await c.receive(), message);
  }],

  pong: ["/ping", (c) => c.exchange("", "one", "x".repeat(125), noise(125))],

  "1-mib": ["/echo", (c) => c.exchange("ö".repeat(1 << 19), noise(1 << 20))],

  "16-mib": ["/echo", (c) => c.exchange(noise(16 << 20), "0123456789abcdef".repeat(1 << 20))],

  subprotocol: ["/echo", async (c) => {
    check(c.ws.protocol === "interop.two", `the subprotocol is ${JSON.stringify(c.ws.protocol)}`);
    await c.exchange("spoken");
  }, ["unknown.one", "interop.two"]],

  random: [`/random?seed=${seed}`, async (c) => {
    const below = numbers(seed);
    for (let number = 0; number < 16; number += 1) await c.exchange(drawn(below));
  }],

  "close-by-client": ["/echo", async (c) => {
    await c.exchange("last");
    await c.close(4321, LONG_REASON);
  }],

  "close-by-server": ["/close?code=1001&reason=bye", async (c) => {
    c.ws.send("go");
    c.endsWith(await c.ended, 1001, "bye");
  }],

  "too-big-for-server": ["/echo", async (c) => {
    c.ws.send(new Uint8Array(2048));
    const event = await c.ended;
    // A server that fails the connection need not wait for the other Close. For Firefox, that is not a clean end.
    c.endsWith(event, 1009, undefined, event.wasClean || FIREFOX);
  }],

  // A page is not told the status.
  refused: ["/refuse", null],

  ...further({ check, same, noise }),
};

async function run() {
  const [path, steps, protocols] = scenarios[scenario];
  const c = new Client(base + path, protocols);
  if (!steps) {
    const { code } = await c.ended;
    check(code === 1006, `refused with code ${code}`);
    return;
  }
  await c.open();
  const { extensions } = c.ws;
  await steps(c);
  if (c.ws.readyState === WebSocket.OPEN) await c.close(1000);
  return extensions;
}

run().then(
  (extensions) => done({ extensions }),
  (error) => done({ error: error.message }),
);
