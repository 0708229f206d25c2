// Sliders, buttons and keys. They change the look, which is drawn here, or the view, which is asked for.

import { rgb } from "./look.js";

const $ = (id) => document.getElementById(id);

/** A row of buttons of which one is chosen. */
export class Segments {
  constructor(element, chosen) {
    this.element = element;
    this.chosen = chosen;
    this.buttons = [];
    for (const button of element.querySelectorAll("button")) this.take(button);
  }

  take(button) {
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => this.chosen(button.dataset.value));
    this.buttons.push(button);
  }

  /** Show buttons for these values, by value and label; new ones are made, and others of this kind are hidden. */
  offer(labels) {
    for (const [value, label] of labels) {
      const textContent = label[0].toUpperCase() + label.slice(1); // as the buttons beside it
      if (this.buttons.some((button) => button.dataset.value === value)) continue;
      const button = Object.assign(document.createElement("button"), { textContent, title: `${textContent} (U)` });
      Object.assign(button.dataset, { value, offered: "yes" });
      this.element.append(button);
      this.take(button);
      this.show(this.value);
    }
    for (const button of this.buttons) if (button.dataset.offered) button.hidden = !labels.has(button.dataset.value);
  }

  show(value) {
    this.value = value;
    for (const button of this.buttons) button.setAttribute("aria-checked", String(button.dataset.value === value));
  }

  /** The value after this one, among those that can be seen. */
  after(value) {
    const values = this.buttons.filter((button) => !button.hidden).map((button) => button.dataset.value);
    return values[(values.indexOf(value) + 1) % values.length];
  }
}

export function bindControls(page) {
  const { look } = page;
  page.modes = new Segments($("mode"), (mode) => page.ask({ mode }));
  page.layers = new Segments($("layer"), (layer) => page.set({ layer }));
  slider("gamma", (value) => page.set({ gamma: value }), (value) => value.toFixed(2));
  slider("threshold", (value) => page.set({ threshold: value / 100 }), (value) => `±${value} %`);
  slider("disagreement", (value) => page.set({ disagreeAbove: value }), (value) => value.toFixed(2));
  $("overlay").addEventListener("change", ({ target }) => page.set({ overlay: target.checked }));
  $("auto").addEventListener("change", ({ target }) => page.setAuto(target.checked));
  $("level").addEventListener("change", ({ target }) => page.setLevel(Number(target.value)));
  $("quality").addEventListener("change", ({ target }) => page.ask({ quality: target.value }));
  $("position").addEventListener("change", ({ target }) => page.ask({ p: target.value === "" ? null : Number(target.value) }));
  $("time").addEventListener("input", ({ target }) => page.scrub(Number(target.value)));
  $("z").addEventListener("input", ({ target }) => page.ask({ z: Number(target.value) }));
  $("follow").addEventListener("click", () => page.follow(page.view.t !== null));
  $("snapshot").addEventListener("click", () => page.snapshot());
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("panel-toggle").addEventListener("click", () => page.togglePanel());
  page.layers.show(look.layer);
  page.modes.show(page.view.mode);
  bindKeys(page);
}

function slider(id, changed, describe) {
  const input = $(id);
  const output = input.parentElement.querySelector("output");
  const read = () => {
    output.textContent = describe(Number(input.value));
    changed(Number(input.value));
  };
  input.addEventListener("input", read);
  output.textContent = describe(Number(input.value));
}

/** Move a slider by some of its steps, as if a person had. */
function nudge(id, steps) {
  const input = $(id);
  if (steps > 0) input.stepUp(steps);
  else input.stepDown(-steps);
  input.dispatchEvent(new Event("input"));
}

function toggle(id) {
  $(id).click();
}

function bindKeys(page) {
  const { look } = page;
  const keys = {
    ArrowLeft: () => page.step(-1),
    ArrowRight: () => page.step(1),
    ArrowUp: () => nudge("z", 1),
    ArrowDown: () => nudge("z", -1),
    " ": () => page.follow(page.view.t !== null),
    1: () => page.ask({ mode: "slice" }),
    2: () => page.ask({ mode: "max" }),
    3: () => page.ask({ mode: "ortho" }),
    4: () => page.ask({ mode: "volume" }),
    "+": () => page.pointer.zoom(1.25),
    "=": () => page.pointer.zoom(1.25),
    "-": () => page.pointer.zoom(0.8),
    r: () => page.pointer.reset(),
    a: () => toggle("auto"),
    "[": () => nudge("gamma", -1),
    "]": () => nudge("gamma", 1),
    c: () => page.nextChannel(),
    u: () => page.set({ layer: page.layers.after(page.look.layer) }),
    o: () => toggle("overlay"),
    m: () => toggle("doubt-marks"),
    w: () => page.doubts.go(0),
    n: () => page.doubts.next(),
    ",": () => nudge("threshold", -1),
    ".": () => nudge("threshold", 1),
    f: () => page.set({ flipped: !look.flipped }),
    s: () => page.snapshot(),
    p: () => page.togglePanel(),
    "?": () => $("help").showModal(),
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open || isForFocus(event)) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/** Whether a key belongs to the control that the keyboard went to: arrows to a slider, the space bar to a button. */
function isForFocus({ target, key }) {
  if (target.tagName === "SELECT") return true;
  if (!target.matches?.(":focus-visible")) return false;
  return target.type === "range" ? key.startsWith("Arrow") : key === " " && target !== document.body;
}

/** One entry a channel: seen or not, chosen or not, its colour. Only drawn anew when the channels change. */
export function showChannels(page, names) {
  const { look } = page;
  const several = look.channels.size > 1;
  const entries = several ? [...look.channels].map(([c, setting]) => channelEntry(page, c, setting, names[c] ?? `channel ${c}`)) : [];
  $("channels").replaceChildren(...entries);
}

function channelEntry(page, c, setting, name) {
  const entry = document.createElement("span");
  entry.setAttribute("aria-current", String(c === page.look.channel));
  const seen = Object.assign(document.createElement("input"), { type: "checkbox", checked: setting.visible, title: "seen" });
  seen.addEventListener("change", () => page.setChannel(c, { visible: seen.checked }));
  const choose = Object.assign(document.createElement("button"), { textContent: name, title: "marks and histogram of this channel (C)" });
  choose.addEventListener("click", () => page.chooseChannel(c));
  const colour = Object.assign(document.createElement("input"), { type: "color", value: setting.colour || "#ffffff", title: "colour" });
  colour.addEventListener("input", () => page.setChannel(c, { colour: colour.value, tint: rgb(colour.value) }));
  entry.append(seen, choose, colour);
  return entry;
}
