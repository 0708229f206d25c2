// The histogram of one product, with two handles: drag one and contrast is no longer automatic.

import { cleared } from "./stage.js";

const REACH_PX = 14;

export class Histogram {
  /** `changed(product, low, high)` is called while a handle is dragged. */
  constructor(figure, changed) {
    this.product = figure.dataset.product;
    this.canvas = figure.querySelector("canvas");
    this.output = figure.querySelector("output");
    this.changed = changed;
    this.canvas.addEventListener("pointerdown", (event) => this.grab(event));
    this.canvas.addEventListener("pointermove", (event) => this.drag(event));
    this.canvas.addEventListener("pointerup", () => (this.held = undefined));
  }

  show(window, contrast, colour) {
    Object.assign(this, { window, contrast, colour });
    this.draw();
  }

  get span() {
    return this.window.last - this.window.first;
  }

  xOf(counts) {
    return ((counts - this.window.first) / this.span) * this.canvas.clientWidth;
  }

  grab(event) {
    if (!this.window) return;
    const [low, high] = this.contrast.map((counts) => Math.abs(this.xOf(counts) - event.offsetX));
    this.held = low < high ? 0 : 1;
    if (Math.min(low, high) > REACH_PX * 4) this.held = event.offsetX < this.xOf((this.contrast[0] + this.contrast[1]) / 2) ? 0 : 1;
    this.canvas.setPointerCapture(event.pointerId);
    this.drag(event);
  }

  drag(event) {
    if (this.held === undefined) return;
    const counts = this.window.first + (event.offsetX / this.canvas.clientWidth) * this.span;
    const next = [...this.contrast];
    next[this.held] = counts;
    if (next[1] - next[0] < this.span / 200) return;
    this.changed(this.product, next);
  }

  draw() {
    const { context, width, height } = cleared(this.canvas);
    this.output.textContent = this.contrast ? this.contrast.map((counts) => round(counts)).join(" – ") : "none";
    if (!this.window || !width) return;
    this.drawBars(context, width, height);
    this.drawHandles(context, height);
  }

  drawBars(context, width, height) {
    const { counts } = this.window;
    const most = Math.log1p(Math.max(...counts));
    context.fillStyle = this.colour || "#8b95a3";
    counts.forEach((n, i) => {
      const tall = (Math.log1p(n) / most) * (height - 4);
      context.fillRect((i / counts.length) * width, height - tall, width / counts.length, tall);
    });
  }

  drawHandles(context, height) {
    context.fillStyle = "#56b4e9";
    for (const counts of this.contrast) {
      const x = Math.min(this.canvas.clientWidth - 1, Math.max(1, this.xOf(counts)));
      context.fillRect(x - 1, 0, 2, height);
      context.fillRect(x - 4, 0, 8, 5);
    }
  }
}

export const round = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));
