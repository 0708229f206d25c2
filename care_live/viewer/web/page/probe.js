// The numbers of one voxel, read by the gateway from the volume itself: exact, whatever the link sends.

import { round } from "./contrast.js";

const EVERY_MS = 80;

export class Probe {
  constructor(list, stream) {
    this.list = list;
    this.stream = stream;
    stream.addEventListener("probe", ({ detail }) => this.show(detail));
  }

  /** Ask for a voxel; while the pointer moves at most every 80 ms, and always for the last place. */
  ask(header, voxel, level) {
    this.wanted = { t: header.t, p: header.p, ...voxel, level };
    if (this.waiting) return;
    this.stream.probe(this.wanted);
    this.waiting = setTimeout(() => {
      this.waiting = undefined;
      if (this.wanted !== this.asked) this.again();
    }, EVERY_MS);
    this.asked = this.wanted;
  }

  again() {
    this.asked = this.wanted;
    this.stream.probe(this.wanted);
  }

  show({ at: [z, y, x], t, level, values }) {
    const rows = [["place", `t ${t}  plane ${z + 1}  y ${y}  x ${x}`]];
    for (const value of values) rows.push(...this.describe(value, values.length > 1, level));
    this.list.replaceChildren(...rows.flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
    this.last = { at: [z, y, x], t, values };
  }

  describe({ c, raw, mean, interval, disagreement, others }, several, level) {
    const rows = several ? [[`channel ${c}`, ""]] : [];
    rows.push(["raw counts", number(raw)]);
    rows.push(["restored", number(mean)]);
    if (interval) rows.push([`${Math.round(level * 100)} % interval`, `${round(interval[0])} … ${round(interval[1])}`]);
    if (disagreement !== null) rows.push(["disagreement", disagreement.toFixed(2)]);
    for (const [label, value] of Object.entries(others)) rows.push([label, number(value)]);
    return rows;
  }
}

const number = (value) => (value === null ? "–" : round(value));

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
