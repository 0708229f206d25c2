// Live and Snap: what the camera sees outside any run, how it was taken, and which of raw and restored is seen.

const $ = (id) => document.getElementById(id);
const EASE = 0.15; // of the way to the new contrast with each frame: a person who focuses sees brightness, not contrast, change

export const isLive = (header) => Boolean(header?.conditions);

/** Mark Live in the header of the page, and say beside the picture how it was taken and what light it cost. */
export function showLive(header, look) {
  $("conditions").hidden = !isLive(header);
  document.body.classList.toggle("is-live", isLive(header));
  const pane = document.querySelector('[data-pane="restored"]');
  pane.querySelector("h2").textContent = isRaw(header, look) ? "raw" : "restored";
  note(pane.querySelector(".pane-note"), noteOf(header, look));
  const lacks = isLive(header) && header.channels.every((channel) => !channel.restored);
  note(document.querySelector('[data-pane="uncertainty"] .pane-note'), lacks ? "none: this is the raw image" : "");
  if (!isLive(header)) return;
  const { conditions } = header;
  $("link").dataset.tone = "live";
  $("link").textContent = conditions.snapped ? "Snap" : "Live";
  $("conditions").textContent = said(conditions).join(" · ");
}

/** What the restored pane shows of a channel: raw where a person flips it, or where Live has nothing newer. */
export function productOf(pane, channel, header, look) {
  if (pane.name === "raw" || (pane.name === "restored" && look.flipped)) return "raw";
  return isLive(header) && !channel.restored ? "raw" : "mean";
}

/** A window on the way from the one that is shown to that of a new frame. */
export const eased = (now, [low, high]) => [now[0] + EASE * (low - now[0]), now[1] + EASE * (high - now[1])];

function noteOf(header, look) {
  if (look.flipped) return "flipped: F shows the restored image";
  return isRaw(header, look) ? "as it came: the network lags" : "";
}

/** Write a note, and take it away again; a note of others stays. */
function note(element, text) {
  if (text || element.dataset.live) element.textContent = text;
  element.dataset.live = text;
}

function isRaw(header, look) {
  return look.flipped || (isLive(header) && header.channels.every((channel) => !channel.restored));
}

function said({ exposure_ms: exposure, laser, channel, z_um: z, frames_per_s: rate, light_s: light }) {
  const parts = [channel];
  if (exposure !== null) parts.push(`exposure ${round(exposure)} ms`);
  if (laser !== null) parts.push(`laser ${round(laser)}`);
  if (z !== null) parts.push(`z ${z.toFixed(2)} µm`);
  if (rate !== null && exposure !== null) {
    parts.push(`${rate.toFixed(1)} frames/s: light on ${Math.min(100, (rate * exposure) / 10).toFixed(0)} % of the time`);
  }
  parts.push(`dose so far ${round(light)} s${laser === null ? "" : " × laser"}`);
  return parts.filter(Boolean);
}

const round = (number) => Number(number.toPrecision(3));
