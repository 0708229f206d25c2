// Words around the images: link, run, network, state, flags, age and what was skipped or lost.

import { planesOf } from "./filling.js";

const $ = (id) => document.getElementById(id);
const TONES = { confirmed: "good", provisional: "idle", suspect: "bad" };
const FLAGS = {
  missing_plane: "missing planes",
  saturated: "saturated",
  nan_fixed: "bad numbers fixed",
  late: "restored late",
  degraded: "smaller tiles",
  fast_mode: "fast mode",
  empty: "empty",
  out_of_domain: "unlike training",
};
const TRUST = { green: "good", amber: "warn", red: "red" };

export function showLink({ open, refused }) {
  if (refused) chip($("link"), "bad", "not allowed: open the printed address");
  else if (!open) chip($("link"), "bad", "gateway gone, retrying");
}

export function showRun(run) {
  $("run").textContent = run.run_id;
  $("model").textContent = run.model;
  $("model").title = run.card || "network";
  $("limits").textContent = run.limits;
  $("card").textContent = $("card").title = run.card;
  $("calibration").textContent = run.calibrated
    ? "calibrated on validation volumes"
    : "as the network states it; not calibrated";
}

export function showStatus(status, ended) {
  if (status.problem) showProblem({ text: status.problem });
  if (ended) chip($("link"), "idle", `run ${ended}`);
  else if (status.connected) chip($("link"), "good", "recording");
  else chip($("link"), "idle", status.detail || "no daemon; history only");
  $("rate").textContent = status.volumes_per_s ? status.volumes_per_s.toFixed(2) : "–";
  count($("skipped"), status.skipped_by_viewer);
  showLost($("lost"), status);
  count($("unrestored"), status.not_restored);
  $("workers").hidden = !status.workers?.length;
  $("workers").title = status.workers?.join("\n") ?? "";
  $("n-workers").textContent = status.workers?.length ?? 0;
  $("disk").textContent = duration(status.disk_seconds_left);
}

/** What could not be read or drawn; the next picture takes it away. */
export function showProblem({ text }) {
  $("problem").hidden = false;
  $("problem").textContent = text;
}

export function showPicture(header, goTo) {
  $("problem").hidden = true;
  const states = header.channels.map((channel) => channel.state);
  const worst = ["suspect", "provisional", "confirmed"].find((state) => states.includes(state));
  if (planesOf(header) === undefined) chip($("state"), TONES[worst], worst);
  else chip($("state"), "warn", "restoring…");
  $("state").title = header.channels.map((channel) => channel.streaming).filter(Boolean).join("; ");
  const flags = new Set(header.channels.flatMap((channel) => channel.flags));
  const trusted = header.channels.filter((channel) => channel.trust).map(({ trust }) => trustChip(trust, goTo));
  $("flags").replaceChildren(...trusted, ...[...flags].map((flag) => flagChip(FLAGS[flag] ?? flag)));
  $("lossy").hidden = !header.lossy && header.level === 0;
  $("lossy").textContent = header.lossy ? "lossy pixels" : "reduced pixels";
  if (header.level) $("lossy").textContent += ` 1/${2 ** header.level}`;
}

/** Age counts from the last plane to now, by clocks that cannot be set; of a volume from the store the time of day is shown. */
export function showAge(header, gatewayMs) {
  const lives = header?.live && header.last_plane_ms !== null && gatewayMs !== undefined;
  const known = Boolean(header?.acquired_us);
  $("age-name").textContent = known && !lives ? "recorded at" : "age";
  if (planesOf(header) !== undefined) $("age").textContent = "being recorded";
  else if (lives) $("age").textContent = briefly((gatewayMs - header.last_plane_ms) / 1000);
  else $("age").textContent = known ? new Date(header.acquired_us / 1000).toLocaleTimeString() : "–";
}

const briefly = (seconds) => (seconds < 10 ? `${Math.max(0, seconds).toFixed(1)} s` : duration(seconds));

function chip(element, tone, text) {
  element.dataset.tone = tone ?? "idle";
  element.textContent = text ?? "";
}

function flagChip(text) {
  const made = document.createElement("span");
  made.className = "chip";
  chip(made, "warn", text);
  return made;
}

/** The verdict; a click goes to the worst place that contradicts the photons. */
function trustChip(trust, goTo) {
  const made = document.createElement("button");
  made.className = "chip";
  made.title = trust.reasons.join("\n") || "it agrees with the photons that were counted";
  chip(made, TRUST[trust.colour] ?? "warn", `trust ${trust.colour}`);
  const [worst] = trust.doubts;
  made.disabled = !worst;
  if (worst) made.addEventListener("click", goTo);
  return made;
}

/** The choice of a stage position, where there are several. */
export function showPositions(positions, names, chosen) {
  $("position-row").hidden = positions.length < 2;
  const wanted = positions.join();
  if ($("position").dataset.shown === wanted) return;
  $("position").dataset.shown = wanted;
  const options = positions.map((p) => new Option(names?.[p] ?? `position ${p}`, p));
  $("position").replaceChildren(new Option("newest", ""), ...options);
  $("position").value = chosen ?? "";
}

function count(element, n) {
  element.textContent = n;
  element.classList.toggle("loss", n > 0);
}

function showLost(element, { lost_planes: planes, lost_volumes: volumes }) {
  count(element, planes + volumes);
  if (planes || volumes) element.textContent = [plural(planes, "plane"), plural(volumes, "volume")].filter(Boolean).join(", ");
}

const plural = (n, word) => (n ? `${n} ${word}${n === 1 ? "" : "s"}` : "");

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds > 86400 * 3) return "> 3 days";
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}
