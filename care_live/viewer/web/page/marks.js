// What is drawn over the pixels: scale bar, crosshair, the linked pointer, the colour bar.

import { drawDoubts, KINDS } from "./doubts.js";
import { planesOf } from "./filling.js";
import { bounds, rectangles, scaleBar, toPane, transform } from "./geometry.js";
import { round } from "./contrast.js";

const INK = "#e8ecf1";

export class Marks {
  constructor(canvas) {
    this.canvas = canvas;
  }

  /** `doubt` is the place that a person looks at, of those that contradict the photons. */
  draw(panes, header, look, { pointer, doubt }) {
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!header) return;
    for (const pane of panes) {
      context.save();
      context.beginPath();
      context.rect(pane.x, pane.y, pane.width, pane.height);
      context.clip();
      context.translate(pane.x, pane.y);
      this.drawPane(context, pane, header, look, { pointer, doubt });
      context.restore();
    }
  }

  drawPane(context, pane, header, look, { pointer, doubt }) {
    const view = transform(header, look.camera, pane);
    context.lineWidth = devicePixelRatio;
    if (header.mode === "ortho") drawCrosshair(context, pane, header, view);
    if (header.mode === "ortho" && pane.name !== "raw") drawFront(context, pane, header, view);
    if (look.doubtMarks && planesOf(header) === undefined) drawDoubts(context, pane, header, view, look, doubt);
    context.lineWidth = devicePixelRatio;
    if (pointer && header.mode !== "volume") drawPointer(context, pane, view, pointer);
    drawScaleBar(context, pane, view);
    if (pane.name === "uncertainty" && look.layer !== "marked") drawColourBar(context, pane, header, look);
  }
}

/** Lines through the voxel where the ortho planes meet. */
function drawCrosshair(context, pane, header, view) {
  const [field] = rectangles(header);
  const { width, height } = bounds(header);
  const [, ny, nx] = header.shape;
  const x = ((header.at[2] + 0.5) / nx) * field.width;
  const y = ((header.at[1] + 0.5) / ny) * field.height;
  context.strokeStyle = "#56b4e966";
  line(context, toPane(view, pane, x, 0), toPane(view, pane, x, height));
  line(context, toPane(view, pane, 0, y), toPane(view, pane, width, y));
}

/** Where a volume that is still being restored ends, in the planes that are cut along z. */
function drawFront(context, pane, header, view) {
  const n = planesOf(header);
  if (n === undefined) return;
  context.strokeStyle = "#e69f00";
  context.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  const [, xz, yz] = rectangles(header);
  const [y, x] = [xz.y + (n / header.shape[0]) * xz.height, yz.x + (n / header.shape[0]) * yz.width];
  line(context, toPane(view, pane, xz.x, y), toPane(view, pane, xz.x + xz.width, y));
  line(context, toPane(view, pane, x, yz.y), toPane(view, pane, x, yz.y + yz.height));
  context.setLineDash([]);
}

/** The same place in every pane. */
function drawPointer(context, pane, view, pointer) {
  const [x, y] = toPane(view, pane, pointer.x, pointer.y);
  const r = 7 * devicePixelRatio;
  context.strokeStyle = "#ffffffb0";
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    line(context, [x + (dx * r) / 2, y + (dy * r) / 2], [x + dx * r * 1.6, y + dy * r * 1.6]);
  }
}

function drawScaleBar(context, pane, view) {
  const ratio = devicePixelRatio;
  const { um, pixels } = scaleBar(view.scale, Math.min(120 * ratio, pane.width / 3));
  const [right, bottom] = [pane.width - 12 * ratio, pane.height - 12 * ratio];
  context.shadowColor = "#000";
  context.shadowBlur = 3 * ratio;
  context.fillStyle = INK;
  context.fillRect(right - pixels, bottom - 3 * ratio, pixels, 3 * ratio);
  text(context, `${um >= 1 ? um : round(um)} µm`, right - pixels / 2, bottom - 8 * ratio, "center");
  context.shadowBlur = 0;
}

const RAMP = ["rgb(0,34,78)", "rgb(65,79,108)", "rgb(124,123,120)", "rgb(189,174,109)", "rgb(254,231,54)"];

function drawColourBar(context, pane, header, look) {
  const twoSided = header.arrays.some((array) => array.product === look.layer && array.limits?.[0] < 0);
  const ratio = devicePixelRatio;
  const [width, height] = [Math.min(110 * ratio, pane.width / 3), 7 * ratio];
  const [left, top] = [12 * ratio, pane.height - 19 * ratio];
  const ramp = context.createLinearGradient(left, 0, left + width, 0);
  const colours = twoSided ? [KINDS.invented.colour, "#000", KINDS.missing.colour] : RAMP;
  colours.forEach((colour, i) => ramp.addColorStop(i / (colours.length - 1), colour));
  context.fillStyle = ramp;
  context.fillRect(left, top, width, height);
  context.fillStyle = INK;
  const [least, most] = twoSided
    ? ["invented", "missing"]
    : look.layer === "relative"
      ? ["±0", `±${Math.round(look.threshold * 200)} %`]
      : ["0", "1"];
  text(context, least, left, top - 5 * ratio, "left");
  text(context, most, left + width, top - 5 * ratio, "right");
}

function text(context, string, x, y, align) {
  context.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  context.textAlign = align;
  context.fillText(string, x, y);
}

function line(context, from, to) {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}
