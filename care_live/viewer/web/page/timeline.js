// Trust over time, under the time slider: low green, half-high amber, full red; a click goes there.

import { cleared } from "./stage.js";

const COLOURS = { green: ["#35b38a", 0.35], amber: ["#e69f00", 0.65], red: ["#f0444b", 1] };
const ORDER = ["green", "amber", "red"]; // what is drawn last is seen where many volumes share a pixel
const INSET_PX = 8; // half of the slider's handle
const NEAR_PX = 5;

export class TrustLine {
  /** `goTo(index)` is called with the number of a time point among those that exist. */
  constructor(canvas, tip, goTo) {
    Object.assign(this, { canvas, tip, goTo, spans: [], times: [], p: 0 });
    canvas.addEventListener("click", (event) => this.clicked(event));
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => (tip.hidden = true));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** Spans of time points of one verdict: [position, first, last, colour, reason]. */
  take(spans) {
    this.spans = spans;
    this.update();
  }

  show(times, p) {
    if (p === this.p && times.length === this.times.length && times.at(-1) === this.times.at(-1)) return;
    Object.assign(this, { times: [...times], p });
    this.update();
  }

  update() {
    const own = this.spans.filter(([p]) => p === this.p).sort((one, other) => one[1] - other[1]);
    let i = 0;
    this.verdicts = this.times.map((t) => {
      while (i < own.length && own[i][2] < t) i++;
      const span = own[i];
      return span && span[1] <= t ? { colour: span[3], reason: span[4] } : undefined;
    });
    const count = (colour) => this.verdicts.filter((one) => one?.colour === colour).length;
    this.canvas.setAttribute("aria-label", `Trust over time: ${ORDER.map((colour) => `${count(colour)} ${colour}`).join(", ")}`);
    this.draw();
  }

  /** Left edge of a time point's bar; the handle of the slider stands over its middle. */
  edge(index) {
    const room = this.canvas.clientWidth - 2 * INSET_PX;
    const step = room / Math.max(this.times.length - 1, 1);
    return INSET_PX + (index - 0.5) * step;
  }

  draw() {
    const { context, height } = cleared(this.canvas);
    for (const colour of ORDER) this.drawBars(context, colour, height);
  }

  drawBars(context, colour, height) {
    const [ink, share] = COLOURS[colour];
    context.fillStyle = ink;
    this.verdicts?.forEach((verdict, i) => {
      if (verdict?.colour !== colour) return;
      const left = Math.max(this.edge(i), 0);
      const wide = Math.max(Math.min(this.edge(i + 1), this.canvas.clientWidth) - left, 1);
      context.fillRect(left, height * (1 - share), wide > 4 ? wide - 1 : wide, height * share);
    });
  }

  /** The worst time point near the pointer. */
  near({ offsetX }) {
    const badness = (i) => ORDER.indexOf(this.verdicts[i]?.colour);
    let found;
    for (let i = 0; i < this.times.length; i++) {
      const middle = (this.edge(i) + this.edge(i + 1)) / 2;
      const away = Math.abs(middle - offsetX);
      const inside = offsetX >= this.edge(i) && offsetX < this.edge(i + 1);
      if (!inside && away > NEAR_PX) continue;
      if (found === undefined || badness(i) > badness(found) || (inside && badness(i) === badness(found))) found = i;
    }
    return found;
  }

  clicked(event) {
    event.preventDefault(); // the label around it would give the keyboard to the slider
    const index = this.near(event);
    if (index !== undefined) this.goTo(index);
  }

  hover(event) {
    const index = this.near(event);
    this.tip.hidden = index === undefined;
    if (index === undefined) return;
    const { colour, reason } = this.verdicts[index] ?? {};
    this.tip.textContent = `t ${this.times[index]}: ${colour ?? "not examined"}${reason ? `. ${reason}` : ""}`;
    const box = this.canvas.getBoundingClientRect();
    const left = Math.min(Math.max(event.clientX - this.tip.offsetWidth / 2, 6), innerWidth - this.tip.offsetWidth - 6);
    Object.assign(this.tip.style, { left: `${left}px`, bottom: `${innerHeight - box.top + 26}px` });
  }
}
