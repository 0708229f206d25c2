// The link to the run: Neuroglancer runs in this browser and reads the OME-Zarr groups from this gateway.

const $ = (id) => document.getElementById(id);
const NEUROGLANCER = "https://neuroglancer-demo.appspot.com/#!";

/** Show where the run lies, and link to it: the first position, with the contrast that is shown here. */
export function showFinished(run, header) {
  $("finished").hidden = !run.data;
  if (!run.data) return;
  $("finished-path").textContent = run.directory;
  const address = new URL(run.data, location.href).href;
  const state = { ...layersOf(address, run.layers, header?.channels[0]?.windows ?? {}), ...spaceOf(header) };
  $("finished-link").href = NEUROGLANCER + encodeURIComponent(JSON.stringify(state));
}

function layersOf(address, stored, windows) {
  const first = stored.some(({ product }) => product === "mean") ? "mean" : "raw";
  const layers = stored.map(({ folder, product, limits }) => ({
    type: "image",
    name: folder,
    source: `${address}${folder}/0/|zarr3:`,
    visible: product === first,
    shaderControls: { normalized: { range: limits ?? rangeOf(product, windows) } },
  }));
  return { layers, layout: "4panel" };
}

/** Space on the screen, time on a slider, and the whole field in view. */
function spaceOf(header) {
  if (!header) return {};
  const [z, y, x] = header.voxel_size_um.map((um) => [um * 1e-6, "m"]);
  const field = Math.max(header.shape[1], header.shape[2]);
  const dimensions = { x, y, z, t: [1, "s"] };
  return { dimensions, displayDimensions: ["x", "y", "z"], crossSectionScale: field / 250, projectionScale: 1.5 * field };
}

/** Shown black and white: the width of the interval in counts has about a quarter of the signal's range. */
function rangeOf(product, windows) {
  const { low, high } = windows[product] ?? windows.mean ?? windows.raw ?? { low: 0, high: 65535 };
  return product === "laplace_scale" ? [0, (high - low) / 4] : [low, high];
}
