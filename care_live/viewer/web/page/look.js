// What a person has set: contrast, colours, marks, camera. Kept apart from the pictures.

import { eased, isLive } from "./live.js";

const PALETTE = ["#2fd49b", "#e86fc4", "#56b4e9", "#f0e442"]; // distinct for the colour-blind, also when added
const STILL = 0.08; // automatic contrast holds still while its window moves by less than this share

export function newLook() {
  return {
    channels: new Map(),
    channel: 0,
    gamma: 0.7,
    layer: "marked",
    overlay: false,
    flipped: false, // the restored pane shows the raw image
    doubtMarks: true,
    level: 0.9,
    halfWidth: Math.log(10), // half of the interval at this level, in units of the scale; the run says it
    halfWidths: new Map(), // the same by channel, where several networks restore
    threshold: 0.5,
    disagreeAbove: 0.2,
    camera: { x: 0, y: 0, zoom: 1 },
    azimuth: 0.5,
    elevation: 0.6,
    turning: false,
  };
}

/** Learn the channels of a picture and, where contrast is automatic, their windows. */
export function learn(look, header) {
  for (const channel of header.channels) {
    if (!look.channels.has(channel.c)) look.channels.set(channel.c, newChannel());
    const setting = look.channels.get(channel.c);
    for (const [product, window] of Object.entries(channel.windows)) adapt(setting, product, window, isLive(header));
  }
  if (!look.channels.has(look.channel)) look.channel = header.channels[0].c;
  colour(look);
}

const newChannel = () => ({ visible: true, colour: "", tint: [1, 1, 1], auto: true, contrast: {} });

function adapt(setting, product, { low, high }, live) {
  const now = setting.contrast[product] ?? (setting.contrast[product] = [low, high]);
  if (!setting.auto) return;
  if (live) setting.contrast[product] = eased(now, [low, high]);
  if (live) return;
  const moved = Math.max(Math.abs(now[0] - low), Math.abs(now[1] - high)) / (high - low);
  if (moved > STILL) setting.contrast[product] = [low, high];
}

/** Back to the percentiles of the picture that is shown. */
export function autoContrast(look, header) {
  for (const channel of header.channels) {
    const setting = look.channels.get(channel.c);
    if (!setting.auto) continue;
    for (const [product, { low, high }] of Object.entries(channel.windows)) setting.contrast[product] = [low, high];
  }
}

/** One channel is grey; several get colours, unless a person chose. */
function colour(look) {
  const several = look.channels.size > 1;
  [...look.channels.values()].forEach((setting, i) => {
    setting.colour ||= several ? PALETTE[i % PALETTE.length] : "";
    setting.tint = rgb(setting.colour || "#ffffff");
  });
}

export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
