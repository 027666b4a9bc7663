// ws with its default configuration; it accepts no compression unless that is measured.
import { WebSocketServer } from "ws";

const mode = process.argv[2];
if (!["echo", "deflate", "broadcast"].includes(mode)) {
  console.error(`no mode ${mode}`);
  process.exit(2);
}
const perMessageDeflate = mode === "deflate";
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate });
server.on("listening", () => console.log(`PORT ${server.address().port}`));
server.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (message, isBinary) => {
    const receivers = mode === "broadcast" ? server.clients : [socket];
    for (const receiver of receivers) receiver.send(message, { binary: isBinary });
  });
});
process.stdin.on("end", () => process.exit(0)).resume();
