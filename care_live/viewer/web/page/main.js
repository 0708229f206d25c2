// The page: a stream of pictures, a look, three panes. Everything else is in the files that it imports.

import { bindControls, showChannels } from "./controls.js";
import { Histogram } from "./contrast.js";
import { Doubts } from "./doubts.js";
import { showFilling } from "./filling.js";
import { showFinished } from "./finished.js";
import { voxelAt } from "./geometry.js";
import { showLive } from "./live.js";
import { autoContrast, learn, newLook } from "./look.js";
import { Marks } from "./marks.js";
import { Pointer } from "./pointer.js";
import { Probe } from "./probe.js";
import { Renderer } from "./render.js";
import { captionOf, compose, download } from "./snapshot.js";
import { fit, panesOf } from "./stage.js";
import { showAge, showLink, showPicture, showPositions, showProblem, showRun, showStatus } from "./status.js";
import { Stream } from "./stream.js";
import { TrustLine } from "./timeline.js";

const $ = (id) => document.getElementById(id);

const DRAWN = new Set(["raw", "mean", "laplace_scale", "disagreement"]); // each in a way of its own

class Page {
  constructor() {
    this.look = newLook();
    this.view = { mode: "slice", t: null, p: null, z: null, y: null, x: null, quality: "auto" };
    this.run = { run_id: "", channels: [], calibrated: false, half_widths: {}, networks: [], limits: "", layers: [] };
    this.restoring = {}; // how far the volume is that is still being restored
    this.times = [];
    this.drawn = 0;
    this.renderer = new Renderer($("pixels"));
    this.marks = new Marks($("marks"));
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.stream = new Stream(`${scheme}://${location.host}/live`);
    this.stream.view = this.view;
    this.probe = new Probe($("probe"), this.stream);
    this.histograms = [...document.querySelectorAll(".histogram")].map(
      (figure) => new Histogram(figure, (product, contrast) => this.setContrast(product, contrast)),
    );
    this.pointer = new Pointer($("stage"), this);
    this.doubts = new Doubts(this);
    this.trustLine = new TrustLine($("trust-line"), $("trust-tip"), (index) => this.scrub(index));
    bindControls(this);
    this.listen();
  }

  listen() {
    const on = (type, act) => this.stream.addEventListener(type, ({ detail }) => act(detail));
    on("link", showLink);
    on("run", (run) => this.takeRun(run));
    on("status", (status) => this.takeStatus(status));
    on("picture", (picture) => this.renderer.take(picture)); // the pixels; the page itself shows what is said of them
    on("picture", (picture) => this.take(picture));
    on("restoring", (restoring) => this.takeRestoring(restoring));
    on("problem", showProblem);
    on("trust", ({ spans }) => this.trustLine.take(spans));
    new ResizeObserver(() => this.moved()).observe($("stage"));
    setInterval(() => showAge(this.header(), this.stream.gatewayMs()), 200);
  }

  header() {
    return this.picture?.header;
  }

  // -- what comes -------------------------------------------------------------------------------------------

  take(picture) {
    this.picture = picture;
    const known = this.look.channels.size;
    learn(this.look, picture.header);
    $("waiting").hidden = true;
    showPicture(picture.header, () => this.doubts.go(0));
    this.doubts.show(picture.header);
    showFilling(this.restoring, picture.header);
    showLive(picture.header, this.look);
    this.showPlaces(picture.header);
    if (this.look.channels.size !== known) showChannels(this, this.run.channels);
    this.showLayers([...picture.arrays.values()]);
    this.moved();
  }

  /** Offer what the uncertainty pane can show: disagreement, and any map that has no drawing of its own. */
  showLayers(arrays) {
    const apart = arrays.some((array) => array.product === "disagreement");
    document.querySelector('#layer [data-value="disagreement"]').hidden = !apart;
    $("disagreement-row").hidden = !apart;
    const others = arrays.filter((array) => !DRAWN.has(array.product));
    this.layers.offer(new Map(others.map((array) => [array.product, array.label])));
  }

  takeRun(run) {
    if (JSON.stringify(run) === JSON.stringify(this.run)) return;
    this.run = run;
    showRun(run);
    showFinished(run, this.header());
    this.setLevel(this.look.level);
    showChannels(this, run.channels);
  }

  takeRestoring(restoring) {
    this.restoring = restoring;
    showFilling(restoring, this.header());
  }

  takeStatus(status) {
    this.times = status.times;
    showStatus(status, this.run.ended);
    showFinished(this.run, this.header());
    showLive(this.header(), this.look);
    showPositions(status.positions, this.run.positions, this.view.p);
    this.showTime();
  }

  // -- what a person does -----------------------------------------------------------------------------------

  /** Change what is asked of the gateway. */
  ask(change) {
    Object.assign(this.view, change);
    this.modes.show(this.view.mode);
    if (change.mode) Object.assign(this.look.camera, { x: 0, y: 0, zoom: 1 });
    if (change.z !== undefined) $("z-text").textContent = `${change.z + 1} / ${Number($("z").max) + 1}`;
    this.stream.ask(this.view);
  }

  /** Change what is drawn here. */
  set(change) {
    Object.assign(this.look, change);
    this.layers.show(this.look.layer);
    showLive(this.header(), this.look);
    this.moved();
  }

  setAuto(auto) {
    for (const setting of this.look.channels.values()) setting.auto = auto;
    $("auto").checked = auto;
    if (auto && this.picture) autoContrast(this.look, this.header());
    this.moved();
  }

  setContrast(product, contrast) {
    const setting = this.look.channels.get(this.look.channel);
    setting.auto = false;
    setting.contrast[product] = contrast;
    $("auto").checked = false;
    this.moved();
  }

  setLevel(level) {
    const halfWidths = new Map(this.run.networks.flatMap((one) => one.channels.map((c) => [c, one.half_widths[level]])));
    this.set({ level, halfWidth: this.run.half_widths[level] ?? this.look.halfWidth, halfWidths });
  }

  setChannel(c, change) {
    Object.assign(this.look.channels.get(c), change);
    this.moved();
  }

  chooseChannel(c) {
    this.look.channel = c;
    $("auto").checked = this.look.channels.get(c).auto;
    showChannels(this, this.run.channels);
    this.moved();
  }

  nextChannel() {
    const all = [...this.look.channels.keys()];
    if (all.length) this.chooseChannel(all[(all.indexOf(this.look.channel) + 1) % all.length]);
  }

  follow(live) {
    this.ask({ t: live ? null : (this.header()?.t ?? null) });
    this.showTime();
  }

  /** The slider moves among the time points that exist; touching it ends following. */
  scrub(index) {
    this.ask({ t: this.times[index] ?? null });
    this.showTime();
  }

  step(by) {
    const now = this.view.t ?? this.header()?.t ?? 0;
    const index = this.times.findIndex((t) => t >= now);
    const next = this.times[Math.min(this.times.length - 1, Math.max(0, (index < 0 ? this.times.length - 1 : index) + by))];
    if (next !== undefined) this.scrub(this.times.indexOf(next));
  }

  togglePanel() {
    document.body.classList.toggle("no-panel");
  }

  snapshot() {
    if (!this.picture) return;
    this.draw();
    const panes = this.panes();
    const canvas = compose($("pixels"), $("marks"), panes, captionOf(this.header(), this.run));
    download(canvas, `${this.run.run_id || "care_live"}_t${this.header().t}_z${this.header().at[0]}.png`);
  }

  pointed(place) {
    this.pointing = place;
    const header = this.header();
    const voxel = place && header.mode !== "volume" ? voxelAt(header, place.x, place.y) : null;
    if (voxel) this.probe.ask(header, voxel, this.look.level);
    this.moved();
  }

  /** A click reads the voxel and, between ortho planes, goes there. */
  clicked(place) {
    const header = this.header();
    if (header.mode === "volume") return;
    const voxel = voxelAt(header, place.x, place.y);
    if (!voxel) return;
    this.probe.ask(header, voxel, this.look.level);
    if (header.mode === "ortho") this.ask(voxel);
  }

  // -- what is shown ----------------------------------------------------------------------------------------

  showPlaces(header) {
    const [depth] = header.shape;
    $("z").max = depth - 1;
    if (header.revision === this.stream.revision || this.view.z === null) {
      $("z").value = header.at[0];
      $("z-text").textContent = `${header.at[0] + 1} / ${depth}`;
    }
    $("z-scrub").style.opacity = header.mode === "slice" || header.mode === "ortho" ? 1 : 0.35;
    this.showTime();
  }

  showTime() {
    const t = this.view.t ?? this.header()?.t;
    if (t !== undefined && !this.times.includes(t)) this.times = [...this.times, t].sort((a, b) => a - b);
    $("time").max = Math.max(0, this.times.length - 1);
    const index = this.times.indexOf(t);
    if (index >= 0) $("time").value = index;
    else if (this.view.t === null) $("time").value = $("time").max;
    $("time-text").textContent = t === undefined ? "–" : `${t} of ${this.times.at(-1) ?? t}`;
    $("follow").setAttribute("aria-pressed", String(this.view.t === null));
    this.trustLine.show(this.times, this.view.p ?? this.header()?.p ?? 0);
  }

  panes() {
    return panesOf($("stage"));
  }

  /** Draw at the next refresh of the screen, once; later, while the graphics card is still busy. */
  moved() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = undefined;
      if (this.renderer.busy) this.moved();
      else this.draw();
    });
  }

  draw() {
    fit($("stage"), [$("pixels"), $("marks")]);
    const panes = this.panes();
    this.renderer.draw(panes, this.look);
    this.marks.draw(panes, this.header(), this.look, { pointer: this.pointing, doubt: this.doubts.chosen });
    this.showHistograms();
    this.drawn += 1;
    if (this.picture) this.firstDrawn ??= performance.now(); // from the start of navigation
  }

  showHistograms() {
    const channel = this.header()?.channels.find(({ c }) => c === this.look.channel);
    if (!channel) return;
    const setting = this.look.channels.get(channel.c);
    for (const histogram of this.histograms) {
      const { product } = histogram;
      histogram.show(channel.windows[product], setting.contrast[product], setting.colour);
    }
  }
}

try {
  window.careLive = new Page(); // also for the console: careLive.picture, careLive.look
} catch (error) {
  $("waiting").textContent = error.message;
}
