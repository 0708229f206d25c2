// A client of protocol cl1 in another language, written from care_live/wire/cl1.md alone.
//   node reference_client.mjs ROUTER-ADDRESS BROADCAST-ADDRESS KEY...     (each KEY is t,p,c)
// Prints one JSON object a line: what it saw. Needs the npm package zeromq, in the folder $NODE_FOLDER.
import { createRequire } from "node:module";

const zmq = createRequire(process.env.NODE_FOLDER + "/")("zeromq");
const [router, broadcast, ...wanted] = process.argv.slice(2);
const print = (what, said) => process.stdout.write(JSON.stringify({ what, ...said }) + "\n");
const check = (holds, why) => {
  if (!holds) throw new Error(why);
};

// -- bytes --------------------------------------------------------------------------------------------------------
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0x82f63b78 : byte >>> 1;
  return byte >>> 0;
});
const crc32c = (bytes) => {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255];
  return ~crc >>> 0;
};

/** Check a message as the page says and return its header, with the buffers in `arrays[i].bytes`. */
function decode(parts) {
  const said = JSON.parse(parts[0].toString("utf8"));
  check(parts[0].length <= 2 ** 20, "header above 1 MiB");
  check(/^cl1$/.test(said.protocol), `protocol ${said.protocol}`);
  const described = said.arrays ?? [];
  check(described.length === parts.length - 1, "number of buffers");
  described.forEach((array, i) => {
    array.bytes = parts[i + 1];
    check(array.bytes.length === array.nbytes, `${array.product} has ${array.bytes.length} bytes`);
    check(crc32c(array.bytes) === array.crc32c, `${array.product} is damaged`);
    const [z, y, x] = array.shape;
    const unpacked = z * y * x * { "|u1": 1, "<u2": 2, "<f4": 4 }[array.dtype];
    if (array.codec === "blosc2") check(array.bytes.readUInt32LE(4) === unpacked, "size in the blosc2 chunk");
    else check(array.nbytes === unpacked, "size without a codec");
  });
  return said;
}

/** Return what the codes of an array mean, as numbers; of a packed one null (its checksum and sizes were checked). */
function values(array) {
  if (array.codec !== "none") return null;
  const copy = new Uint8Array(array.bytes).buffer;
  const codes = { "|u1": Uint8Array, "<u2": Uint16Array, "<f4": Float32Array }[array.dtype];
  const numbers = Array.from(new codes(copy));
  if (array.coding === "affine") return numbers.map((code) => array.zero + array.step * code);
  if (array.coding === "log2")
    return numbers.map((code) => (code === 255 ? Infinity : 2 ** (array.zero + array.step * code)));
  return numbers;
}

// -- asking -------------------------------------------------------------------------------------------------------
class Link {
  constructor(address) {
    this.socket = new zmq.Dealer({ linger: 0, receiveHighWaterMark: 64, receiveTimeout: 10000 });
    this.socket.connect(address);
  }
  ask(type, fields = {}) {
    return this.socket.send(JSON.stringify({ protocol: "cl1", type, ...fields }));
  }
  async next(...types) {
    for (;;) {
      const said = decode(await this.socket.receive());
      check(said.type !== "refused", `refused: ${said.reason} ${said.detail}`);
      if (types.includes(said.type)) return said;
    }
  }
}

async function hello() {
  const link = new Link(router);
  await link.ask("hello", { name: "reference client" });
  const heartbeat = await link.next("heartbeat");
  const start = await link.next("start");
  const many = start.plan.groups ?? [];
  print("hello", { session: heartbeat.session, run: start.run, stacks: start.plan.stacks.length, groups: many.length });
  link.socket.close();
  return start.session;
}

async function newest() {
  const link = new Link(router);
  await link.ask("newest", { credit: 1 });
  const volume = await link.next("volume");
  await link.ask("newest", { credit: 1, session: volume.session, last: volume.seq });
  print("newest", { seq: volume.seq, key: volume.key, products: volume.arrays.map((array) => array.product) });
  link.socket.close();
}

async function replay(session) {
  const link = new Link(router);
  const credit = 4;
  const seen = [];
  await link.ask("replay", { session, first: 0, credit });
  for (let due = 0; ; ) {
    const said = await link.next("start", "volume", "change", "skipped", "end", "gap");
    if (said.type === "gap") {
      check(said.first === due, `gap at ${said.first}, wanted ${due}`);
      due = said.last + 1;
    } else if (said.seq !== due++) throw new Error(`number ${said.seq} out of order`);
    seen.push(said.type);
    if (said.type === "end") break;
    if (due % (credit / 2) === 0) await link.ask("replay", { session, first: due, credit });
  }
  print("replay", { seen });
  link.socket.close();
}

/** Fetch every key in every codec, level and coding, all at once: what finds no place is asked for again. */
async function fetchAll() {
  const link = new Link(router);
  const views = [];
  for (const codec of ["none", "blosc2"])
    for (const quantised of [false, true]) for (const level of [0, 1, 2, 3, 4]) views.push({ codec, quantised, level });
  const asked = wanted.flatMap((key) => views.map((view) => ({ key: key.split(",").map(Number), view })));
  const waiting = new Set(asked.keys());
  let busy = 0;
  const ask = (id) => link.ask("fetch", { id, ...asked[id] });
  for (const id of waiting) await ask(id);
  while (waiting.size) {
    const said = await link.next("volume", "gap");
    if (said.type === "gap") {
      check(said.reason === "busy", `gap: ${said.reason} ${said.detail}`);
      busy++;
      await new Promise((done) => setTimeout(done, 5));
      await ask(said.id);
      continue;
    }
    check(waiting.delete(said.id), `answer ${said.id} was not asked for`);
    const { key, view } = asked[said.id];
    check(String(key) === String(said.key), "another volume");
    for (const array of said.arrays) {
      check(array.level === view.level, "another level");
      const packed = array.codec === "none" ? null : array.bytes.toString("base64");
      const { product, dtype, shape, coding, step, zero, codec } = array;
      const about = { key, level: view.level, quantised: view.quantised, product, dtype, shape, coding, step, zero, codec };
      print("array", { ...about, packed, values: values(array), mantissa_bits: said.mantissa_bits });
    }
  }
  print("fetched", { n: asked.length, busy });
  link.socket.close();
}

/** Listen to the broadcast until the end of the run, and count what came and what was lost, by cause. */
async function listen() {
  const socket = new zmq.Subscriber({ linger: 0, receiveHighWaterMark: 64, receiveTimeout: 20000 });
  socket.connect(broadcast);
  socket.subscribe("cl1/");
  const due = {};
  const tally = {};
  for (let ready = false, over = false; !over; ) {
    const [topic, ...parts] = await socket.receive();
    const said = decode(parts);
    const product = topic.toString().split("/")[1];
    tally[product] ??= { received: 0, not_made: 0, too_slow: 0 };
    const before = due[topic] ?? { count: said.count - 1, notMade: said.not_made ?? 0 };
    const notMade = (said.not_made ?? 0) - before.notMade;
    tally[product].received++;
    tally[product].not_made += notMade;
    tally[product].too_slow += said.count - before.count - 1 - notMade;
    due[topic] = { count: said.count, notMade: said.not_made ?? 0 };
    if (!ready && said.type === "heartbeat") print("listening", {});
    ready ||= said.type === "heartbeat";
    over = said.type === "end";
  }
  print("broadcast", tally);
  socket.close();
}

const session = await hello();
await newest();
await fetchAll();
await listen();
await replay(session);
print("done", {});
