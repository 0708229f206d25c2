// What is on the screen as PNG, with what a reader of the picture must know written under it.

import { planesOf } from "./filling.js";

const CAPTION_PX = 26;
const GROUND = "#0b0d10";

/** Join pixels, marks, pane names and a caption into one canvas. */
export function compose(pixels, marks, panes, caption) {
  const ratio = devicePixelRatio;
  const canvas = document.createElement("canvas");
  canvas.width = pixels.width;
  canvas.height = pixels.height + CAPTION_PX * ratio;
  const context = canvas.getContext("2d");
  context.fillStyle = GROUND;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(pixels, 0, 0);
  context.drawImage(marks, 0, 0);
  context.fillStyle = "#d9dee5";
  context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
  for (const pane of panes) context.fillText(pane.title, pane.x + 10 * ratio, pane.y + 20 * ratio);
  context.font = `${12 * ratio}px system-ui, sans-serif`;
  context.fillText(caption, 10 * ratio, pixels.height + 17 * ratio, canvas.width - 20 * ratio);
  return canvas;
}

export function download(canvas, name) {
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, "image/png");
}

/** The line under a snapshot. */
export function captionOf(header, run) {
  const [channel] = header.channels;
  const parts = [run.run_id, `t ${header.t}`, `plane ${header.at[0] + 1}`, header.mode, channel?.state, run.model];
  if (planesOf(header) !== undefined) parts.push(`still being restored: ${planesOf(header)} of ${header.shape[0]} planes`);
  if (header.lossy) parts.push("lossy pixels");
  return [...parts.filter(Boolean), run.limits].join("  ·  ");
}
