// Places that contradict the photons: rings over the images, words beside them, and the way to the worst one.

import { rectangles, extentOf, toPane, turnMatrix } from "./geometry.js";

const $ = (id) => document.getElementById(id);

/** Colours and lines that no image has: apart for the colour-blind, and one ring is whole, the other broken. */
export const KINDS = {
  invented: { colour: "#ff7a1a", dashed: false },
  missing: { colour: "#5cc8ff", dashed: true },
};
const UNKNOWN = { colour: "#e8ecf1", dashed: false };
const RADIUS_PX = 8; // of a ring, voxels
const LEAST_PX = 11; // on the screen
const REACH = { z: 3, y: RADIUS_PX, x: RADIUS_PX }; // a ring is seen on planes up to this many voxels away
const CLOSE = 3; // zoom at which a place is shown

/** All places of a picture, the worst first: {c, kind, sigmas, z, y, x}. */
export function doubtsOf(header) {
  const all = (header?.channels ?? []).flatMap(({ c, trust }) =>
    (trust?.doubts ?? []).map(({ kind, sigmas, place_px: [z, y, x] }) => ({ c, kind, sigmas, z, y, x })),
  );
  return all.sort((one, other) => other.sigmas - one.sigmas);
}

const same = (one, other) => one && other && ["c", "z", "y", "x"].every((axis) => one[axis] === other[axis]);

/** The panel's part on trust: the verdict in words, and which place is looked at. */
export class Doubts {
  constructor(page) {
    this.page = page;
    $("worst").addEventListener("click", () => this.go(0));
    $("next-worst").addEventListener("click", () => this.next());
    $("doubt-marks").addEventListener("change", ({ target }) => page.set({ doubtMarks: target.checked }));
  }

  show(header) {
    this.all = doubtsOf(header);
    if (header.t !== this.t || header.p !== this.p) Object.assign(this, { t: header.t, p: header.p, at: undefined });
    $("worst").disabled = !this.all.length;
    $("next-worst").disabled = this.all.length < 2;
    const known = header.channels.map(({ trust }) => trust).filter(Boolean);
    const worst = ["red", "amber", "green"].find((colour) => known.some((trust) => trust.colour === colour));
    $("verdict").dataset.colour = worst ?? "none";
    $("verdict").textContent = known.length ? said(known) : "not examined";
    this.showPlace();
  }

  get chosen() {
    return this.at === undefined ? undefined : this.all?.[this.at];
  }

  /** From the worst place to the least, and round again. */
  next() {
    if (this.all?.length) this.go(this.at === undefined ? 0 : (this.at + 1) % this.all.length);
  }

  /** Stay at this volume, and show one place in its plane, in the middle and close. */
  go(number) {
    const header = this.page.header();
    const place = this.all?.[number];
    if (!place) return;
    this.at = number;
    const mode = ["slice", "ortho"].includes(header.mode) ? header.mode : "slice";
    const { z, y, x } = place;
    if (place.c !== this.page.look.channel) this.page.chooseChannel(place.c);
    this.page.ask({ mode, t: header.t, p: header.p, z, y, x });
    this.page.look.camera = centredOn({ ...header, mode }, place, Math.max(this.page.look.camera.zoom, CLOSE));
    this.page.showTime();
    this.showPlace();
    this.page.moved();
  }

  showPlace() {
    const { chosen } = this;
    $("doubt-place").textContent = chosen
      ? `place ${this.at + 1} of ${this.all.length}: ${chosen.kind}, ${chosen.sigmas.toFixed(1)} times the noise, plane ${chosen.z + 1}, y ${chosen.y} x ${chosen.x}`
      : this.all?.length
        ? `${this.all.length} ${this.all.length === 1 ? "place" : "places"} in this volume`
        : "";
  }
}

function said(trusts) {
  const reasons = trusts.flatMap((trust) => trust.reasons);
  const words = reasons.join("; ");
  return words ? `${words[0].toUpperCase()}${words.slice(1)}.` : "The restoration agrees with the photons that were counted.";
}

/** The camera that has a voxel in the middle of each pane. */
export function centredOn(header, { y, x }, zoom) {
  const all = rectangles(header);
  const [field] = all;
  const [, ny, nx] = header.shape;
  const middle = { x: Math.max(...all.map((one) => one.x + one.width)) / 2, y: Math.max(...all.map((one) => one.y + one.height)) / 2 };
  return { zoom, x: ((x + 0.5) / nx) * field.width - middle.x, y: ((y + 0.5) / ny) * field.height - middle.y };
}

/** Rings in one pane; where their words would lie over each other, the chosen or the worst place keeps its own. */
export function drawDoubts(context, pane, header, view, look, chosen) {
  const taken = [];
  const all = doubtsOf(header);
  for (const doubt of [...all.filter((one) => same(one, chosen)), ...all.filter((one) => !same(one, chosen))]) {
    if (!look.channels.get(doubt.c)?.visible) continue;
    for (const { x, y, nearness } of seenAt(header, doubt, look)) {
      const [px, py] = toPane(view, pane, x, y);
      const radius = Math.max(LEAST_PX * devicePixelRatio, RADIUS_PX * header.voxel_size_um[2] * view.scale);
      drawRing(context, pane, { px, py, radius, nearness, doubt, isChosen: same(doubt, chosen), taken });
    }
  }
}

/** Where a place lies in the planes on the screen, µm, and how near those planes are, 0 to 1. */
function seenAt(header, doubt, look) {
  if (header.mode === "volume") return [turned(header, doubt, look)];
  const [nz, ny, nx] = header.shape;
  const share = { z: (doubt.z + 0.5) / nz, y: (doubt.y + 0.5) / ny, x: (doubt.x + 0.5) / nx };
  const [atZ, atY, atX] = header.at;
  const away = { xy: [doubt.z - atZ, REACH.z], xz: [doubt.y - atY, REACH.y], yz: [doubt.x - atX, REACH.x] };
  const axes = { xy: ["x", "y"], xz: ["x", "z"], yz: ["z", "y"] };
  return rectangles(header)
    .map((one) => {
      const [distance, reach] = header.mode === "max" ? [0, 1] : away[one.plane];
      const [across, down] = axes[one.plane];
      const nearness = 1 - Math.abs(distance) / (reach + 1);
      return { x: one.x + share[across] * one.width, y: one.y + share[down] * one.height, nearness };
    })
    .filter(({ nearness }) => nearness > 0);
}

/** A place of the turned volume, as it is seen. */
function turned(header, { z, y, x }, { azimuth, elevation }) {
  const extent = extentOf(header);
  const m = turnMatrix(azimuth, elevation);
  const [nz, ny, nx] = header.shape;
  const from = [((x + 0.5) / nx - 0.5) * extent.x, ((y + 0.5) / ny - 0.5) * extent.y, ((z + 0.5) / nz - 0.5) * extent.z];
  const along = (column) => from.reduce((sum, value, i) => sum + value * m[3 * column + i], 0);
  return { x: along(0), y: along(1), nearness: 1 };
}

function drawRing(context, pane, { px, py, radius, nearness, doubt, isChosen, taken }) {
  const { colour, dashed } = KINDS[doubt.kind] ?? UNKNOWN;
  const ratio = devicePixelRatio;
  context.save();
  context.globalAlpha = 0.4 + 0.6 * nearness;
  for (const [ink, width] of [["#000000c0", isChosen ? 6 : 4.5], [colour, isChosen ? 3 : 2]]) {
    context.beginPath();
    context.setLineDash(dashed ? [6 * ratio, 4 * ratio] : []);
    context.arc(px, py, radius, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: ink, lineWidth: width * ratio });
    context.stroke();
  }
  label(context, pane, { words: doubt.kind, x: px, y: py - radius - 5 * ratio, colour, taken });
  context.restore();
}

/** Words over a place, unless they would lie over those of another one. */
function label(context, pane, { words, x, y, colour, taken }) {
  const ratio = devicePixelRatio;
  context.font = `600 ${12 * ratio}px system-ui, sans-serif`;
  const half = context.measureText(words).width / 2;
  const at = Math.min(Math.max(x, half + 4 * ratio), pane.width - half - 4 * ratio);
  const line = Math.max(y, 14 * ratio);
  const box = { left: at - half, right: at + half, top: line - 12 * ratio, bottom: line + 3 * ratio };
  if (taken.some((other) => overlap(box, other))) return;
  taken.push(box);
  Object.assign(context, { textAlign: "center", fillStyle: colour, shadowColor: "#000", shadowBlur: 4 * ratio });
  for (let i = 0; i < 2; i++) context.fillText(words, at, line); // twice: a darker shadow
}

/** Whether two boxes lie over each other; exported for the tests. */
export function overlap(one, other) {
  return one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
}
