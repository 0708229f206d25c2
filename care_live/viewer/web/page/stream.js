// The WebSocket: asks for a view, gives credit for two pictures, reconnects when the gateway comes back.

import { readPicture } from "./picture.js";

const CREDIT = 2;
const PING_MS = 5000;
const PINGS = 6; // of which the quickest tells the gateway's clock
const RETRY_MS = [250, 500, 1000, 2000, 4000];

export class Stream extends EventTarget {
  constructor(address) {
    super();
    this.address = address;
    this.view = {};
    this.revision = 0;
    this.retries = 0;
    this.pings = []; // how long each took, and the gateway's monotonic clock minus ours, ms
    this.bytes = 0;
    this.reading = Promise.resolve();
    this.connect();
    setInterval(() => this.ping(), PING_MS);
  }

  connect() {
    this.socket = new WebSocket(this.address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.opened();
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? this.note(JSON.parse(data)) : this.picture(data));
    this.socket.onclose = ({ code }) => this.closed(code);
  }

  opened() {
    this.retries = 0;
    this.emit("link", { open: true });
    this.pings = [];
    this.ping();
    this.send({ op: "view", revision: this.revision, ...this.view });
    this.send({ op: "credit", n: CREDIT });
  }

  closed(code) {
    this.emit("link", { open: false, refused: code === 4403 });
    const wait = RETRY_MS[Math.min(this.retries++, RETRY_MS.length - 1)];
    setTimeout(() => this.connect(), wait);
  }

  /** Ask for another view; many calls within one screen refresh become one message. */
  ask(view) {
    this.view = view;
    this.revision += 1;
    if (this.asking) return;
    this.asking = requestAnimationFrame(() => {
      this.asking = 0;
      this.send({ op: "view", revision: this.revision, ...this.view });
    });
  }

  ping() {
    this.send({ op: "ping", sent_ms: performance.now() });
  }

  /** What the gateway's monotonic clock shows now; undefined before its first answer. */
  gatewayMs() {
    const quickest = this.pings.reduce((best, ping) => (best && best.trip <= ping.trip ? best : ping), undefined);
    return quickest && performance.now() + quickest.offset;
  }

  probe(at) {
    this.send({ op: "probe", ...at });
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  note(message) {
    if (message.type === "pong") {
      const trip = performance.now() - message.sent_ms;
      this.pings = [...this.pings, { trip, offset: message.clock_ms - (message.sent_ms + trip / 2) }].slice(-PINGS);
    } else {
      this.emit(message.type, message);
    }
  }

  /** Pictures are decoded one after the other, so that none overtakes; then the next one may come. */
  picture(buffer) {
    this.bytes += buffer.byteLength;
    const socket = this.socket;
    this.reading = this.reading.then(async () => {
      const picture = await readPicture(buffer);
      this.emit("picture", picture);
      if (socket === this.socket) this.send({ op: "credit", n: 1 });
    });
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
