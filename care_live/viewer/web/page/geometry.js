// Where things are: rectangles of the world in µm, panes of the screen in pixels. Calculations only.

const GAP = 0.02; // between ortho planes, as a share of the field's width

/** Physical size of the volume, µm: {x, y, z}. */
export function extentOf({ shape, voxel_size_um: voxel }) {
  return { z: shape[0] * voxel[0], y: shape[1] * voxel[1], x: shape[2] * voxel[2] };
}

/** The planes of a view as {plane, x, y, width, height} in the world. */
export function rectangles(header) {
  const { x, y, z } = extentOf(header);
  const field = [{ plane: "xy", x: 0, y: 0, width: x, height: y }];
  if (header.mode !== "ortho") return field;
  const gap = GAP * x;
  return [
    ...field,
    { plane: "xz", x: 0, y: y + gap, width: x, height: z },
    { plane: "yz", x: x + gap, y: 0, width: z, height: y },
  ];
}

/** The box around all rectangles. */
export function bounds(header) {
  if (header.mode === "volume") {
    const { x, y, z } = extentOf(header);
    const side = Math.hypot(x, y, z) * 0.82;
    return { x: -side / 2, y: -side / 2, width: side, height: side };
  }
  const all = rectangles(header);
  return {
    x: 0,
    y: 0,
    width: Math.max(...all.map((one) => one.x + one.width)),
    height: Math.max(...all.map((one) => one.y + one.height)),
  };
}

/** Screen pixels per µm, and the world's point in the middle of a pane. */
export function transform(header, camera, pane) {
  const box = bounds(header);
  const fit = Math.min(pane.width / box.width, pane.height / box.height) * 0.96;
  return {
    scale: fit * camera.zoom,
    x: box.x + box.width / 2 + camera.x,
    y: box.y + box.height / 2 + camera.y,
  };
}

/** World to pane pixels and back. */
export const toPane = (view, pane, x, y) => [
  (x - view.x) * view.scale + pane.width / 2,
  (y - view.y) * view.scale + pane.height / 2,
];
export const toWorld = (view, pane, px, py) => [
  (px - pane.width / 2) / view.scale + view.x,
  (py - pane.height / 2) / view.scale + view.y,
];

/** The voxel {z, y, x} under a point of the world, or null beside the planes. */
export function voxelAt(header, x, y) {
  const [depth, height, width] = header.shape;
  for (const one of rectangles(header)) {
    const u = (x - one.x) / one.width;
    const v = (y - one.y) / one.height;
    if (u < 0 || u >= 1 || v < 0 || v >= 1) continue;
    const [z0, y0, x0] = header.at;
    if (one.plane === "xy") return { z: z0, y: Math.floor(v * height), x: Math.floor(u * width) };
    if (one.plane === "xz") return { z: Math.floor(v * depth), y: y0, x: Math.floor(u * width) };
    return { z: Math.floor(u * depth), y: Math.floor(v * height), x: x0 };
  }
  return null;
}

/** Screen to volume rotation, column by column, from two angles. */
export function turnMatrix(azimuth, elevation) {
  const [c, s, d, e] = [Math.cos(azimuth), Math.sin(azimuth), Math.cos(elevation), Math.sin(elevation)];
  return [c, 0, -s, s * e, d, c * e, s * d, -e, c * d];
}

/** A round number of µm whose bar is at most `room` pixels long. */
export function scaleBar(scale, room) {
  const most = room / scale;
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [5, 2, 1].find((factor) => factor * power <= most) ?? 1;
  return { um: step * power, pixels: step * power * scale };
}
