// A volume that is still being restored: how far it is, and what on the screen is of the one before.

const noteOf = (pane) => document.querySelector(`[data-pane="${pane}"] .pane-note`);

/** How many planes of the picture are of the volume that it is named after; undefined: all. */
export const planesOf = (header) => header?.channels.find((channel) => channel.n_restored !== null)?.n_restored;

/** Say how far the restoration is. `restoring` is the gateway's note: {t, n, of}, or nothing in it. */
export function showFilling(restoring, header) {
  const filling = restoring.of !== undefined && !isWhole(header, restoring.t);
  const said = filling ? `t ${restoring.t} still being restored: ${restoring.n} of ${restoring.of} planes` : "";
  for (const pane of ["restored", "uncertainty"]) noteOf(pane).textContent = said;
  for (const bar of document.querySelectorAll("progress.filling")) {
    bar.hidden = !filling;
    if (filling) Object.assign(bar, { max: restoring.of, value: restoring.n });
  }
  if (header) showOlder(header, filling);
}

/** Whether the picture has a volume as a whole already. */
const isWhole = (header, t) => Boolean(header?.live) && header.t >= t && planesOf(header) === undefined;

function showOlder(header, filling) {
  const growing = header.channels.find((channel) => channel.n_restored !== null);
  const restored = header.channels.some((channel) => channel.restored);
  if (!restored && !filling) noteOf("restored").textContent = "not restored yet";
  const older = header.channels.filter((channel) => channel.t < header.t);
  if (!growing) noteOf("raw").textContent = older.map((channel) => `channel ${channel.c} of t ${channel.t}`).join(", ");
  else if (growing.before === null) noteOf("raw").textContent = `t ${header.t} is still being recorded`;
  else noteOf("raw").textContent = `of t ${growing.before}; t ${header.t} is still being recorded`;
}
