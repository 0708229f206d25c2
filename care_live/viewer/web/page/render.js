// Draws the three panes into one canvas: planes as they are, or a volume as its maximum along each ray.

import { bindCorners, makeProgram, openContext } from "./gl.js";
import { extentOf, rectangles, transform, turnMatrix } from "./geometry.js";
import { productOf } from "./live.js";
import { keyOf } from "./picture.js";
import { PLANE_FRAGMENT, PLANE_VERTEX, VOLUME_FRAGMENT, VOLUME_VERTEX } from "./shaders.js";

const LAYERS = { intensity: 0, marked: 1, relative: 2, disagreement: 3 };
const ANOTHER_MAP = 4;
const MAX_FOOTPRINT = 6;
const STEPS = { turning: 64, still: 2048 }; // along each ray of a volume, at most; no texture is deeper

export class Renderer {
  constructor(canvas) {
    this.canvas = canvas;
    this.start();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.start();
      if (this.picture) this.take(this.picture);
    });
  }

  start() {
    this.fence = undefined;
    const gl = (this.gl = openContext(this.canvas));
    bindCorners(gl);
    this.plane = makeProgram(gl, PLANE_VERTEX, PLANE_FRAGMENT);
    this.volume = makeProgram(gl, VOLUME_VERTEX, VOLUME_FRAGMENT);
    this.textures = new Textures(gl);
    const nothing = { shape: [1, 1], dtype: "uint8", codes: new Uint8Array(1) };
    this.textures.put("none/2", nothing);
    this.textures.put("none/3", { ...nothing, shape: [1, 1, 1] });
  }

  /** Put a picture's arrays into textures. */
  take(picture) {
    this.picture = picture;
    this.textures.keep(new Set([...picture.arrays.keys(), "none/2", "none/3"]));
    for (const [key, array] of picture.arrays) this.textures.put(key, array);
  }

  /** Whether the graphics card still works on the last picture: another one would only queue behind it. */
  get busy() {
    if (!this.fence) return false;
    const { gl } = this;
    const done = gl.clientWaitSync(this.fence, 0, 0);
    if (done === gl.TIMEOUT_EXPIRED) return true;
    gl.deleteSync(this.fence);
    this.fence = undefined;
    return false;
  }

  /** Draw all panes. `look` is what a person has set; panes are rectangles of the canvas in its pixels. */
  draw(panes, look) {
    this.drawPanes(panes, look);
    this.fence ??= this.gl.fenceSync(this.gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    this.gl.flush();
  }

  drawPanes(panes, look) {
    const { gl } = this;
    this.look = look;
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(0.043, 0.051, 0.063, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.picture) return;
    gl.enable(gl.SCISSOR_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE);
    for (const pane of panes) this.drawPane(pane, look);
  }

  drawPane(pane, look) {
    const { gl, canvas } = this;
    const bottom = canvas.height - pane.y - pane.height;
    gl.viewport(pane.x, bottom, pane.width, pane.height);
    gl.scissor(pane.x, bottom, pane.width, pane.height);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const mapped = pane.name === "uncertainty" && look.layer !== "marked";
    for (const channel of this.picture.header.channels) {
      const setting = look.channels.get(channel.c);
      if (!setting || (mapped ? channel.c !== look.channel : !setting.visible)) continue;
      this.drawChannel(pane, productOf(pane, channel, this.picture.header, look), channel, look);
    }
  }

  drawChannel(pane, product, channel, look) {
    const { header } = this.picture;
    if (header.mode === "volume") {
      this.drawVolume(pane, product, channel, look);
      return;
    }
    for (const rectangle of rectangles(header)) this.drawPlane(pane, product, channel, rectangle, look);
  }

  drawPlane(pane, product, channel, rectangle, look) {
    const { gl, plane: { program, uniforms } } = this;
    const image = this.textures.get(`${channel.c}/${product}/${rectangle.plane}`);
    if (!image) return;
    gl.useProgram(program);
    this.bind(uniforms, channel, rectangle.plane, image, product, layerOf(pane, channel, look));
    this.setLook(uniforms, pane, product, channel, look);
    const view = transform(this.picture.header, look.camera, pane);
    const [height, width] = image.array.shape;
    gl.uniform4f(uniforms.rectangle, rectangle.x, rectangle.y, rectangle.width, rectangle.height);
    gl.uniform2f(uniforms.centre, view.x, view.y);
    gl.uniform2f(uniforms.toClip, (2 * view.scale) / pane.width, (2 * view.scale) / pane.height);
    const across = footprint(width / (rectangle.width * view.scale));
    const down = footprint(height / (rectangle.height * view.scale));
    gl.uniform2i(uniforms.footprint, across, down);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  drawVolume(pane, product, channel, look) {
    const { gl, volume: { program, uniforms } } = this;
    const image = this.textures.get(`${channel.c}/${product}/xyz`);
    if (!image) return;
    gl.useProgram(program);
    this.bind(uniforms, channel, "xyz", image, product, layerOf(pane, channel, look));
    this.setLook(uniforms, pane, product, channel, look);
    const extent = extentOf(this.picture.header);
    const view = transform(this.picture.header, look.camera, pane);
    gl.uniform2f(uniforms.halfPane, pane.width / (2 * view.scale), -pane.height / (2 * view.scale));
    gl.uniform2f(uniforms.centre, view.x, view.y);
    gl.uniform3f(uniforms.halfExtent, extent.x / 2, extent.y / 2, extent.z / 2);
    gl.uniformMatrix3fv(uniforms.turn, false, turnMatrix(look.azimuth, look.elevation));
    gl.uniform1i(uniforms.steps, look.turning ? STEPS.turning : STEPS.still);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  /** Bind the image, and beside a restored one its scale, its disagreement and the map of the layer, if that is another. */
  bind(uniforms, channel, plane, image, product, layer) {
    const { gl } = this;
    const none = this.textures.get(plane === "xyz" ? "none/3" : "none/2");
    const found = (name) => (product === "mean" ? this.textures.get(`${channel.c}/${name}/${plane}`) : undefined);
    const another = layer in LAYERS ? undefined : found(layer);
    const marked = this.marked(channel, plane);
    const bound = [["image", image], ["scale", found("laplace_scale")], ["disagreement", found("disagreement")], ["map", another], ["marked", marked]];
    bound.forEach(([name, entry], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture((entry ?? none).target, (entry ?? none).texture);
      gl.uniform1i(uniforms[name === "image" ? "image" : `${name}Image`], unit);
      const { offset = 0, step = 0 } = entry?.array ?? {};
      gl.uniform2f(uniforms[`${name}Code`], offset, step);
    });
    gl.uniform1i(uniforms.hasScale, bound[1][1] ? 1 : 0);
    gl.uniform1i(uniforms.hasDisagreement, bound[2][1] ? 1 : 0);
    gl.uniform1i(uniforms.hasMap, another ? 1 : 0);
    gl.uniform1i(uniforms.mapIsLog, another?.array.coding === "log2" ? 1 : 0);
    gl.uniform1f(uniforms.markAbove, marked ? marked.array.mark - marked.array.step / 2 : 1e38);
    gl.uniform2f(uniforms.mapLimits, ...(another ? limitsOf(another.array) : [0, 1]));
  }

  /** The map of a channel that has places to be marked, beside any image of it, raw too. */
  marked(channel, plane) {
    if (!this.look?.doubtMarks) return undefined;
    const array = [...this.picture.arrays.values()].find((one) => one.channel === channel.c && one.plane === plane && one.mark);
    return array && this.textures.get(keyOf(array));
  }

  setLook(uniforms, pane, product, channel, look) {
    const { gl } = this;
    const setting = look.channels.get(channel.c);
    const [low, high] = setting.contrast[product];
    const { low: background = 0, high: bright = 1 } = channel.windows[product] ?? {};
    gl.uniform2f(uniforms.contrast, low, high);
    gl.uniform1f(uniforms.gamma, look.gamma);
    gl.uniform3f(uniforms.tint, ...setting.tint);
    gl.uniform1i(uniforms.layer, LAYERS[layerOf(pane, channel, look)] ?? ANOTHER_MAP);
    gl.uniform2f(uniforms.background, background, 0.05 * (bright - background));
    gl.uniform1f(uniforms.halfWidth, look.halfWidths.get(channel.c) ?? look.halfWidth);
    gl.uniform1f(uniforms.threshold, look.threshold);
    gl.uniform1f(uniforms.disagreeAbove, look.disagreeAbove);
  }
}

/** What a pane draws of a channel: marks belong to the chosen channel only. */
function layerOf(pane, channel, look) {
  if (pane.name === "raw" || (pane.name === "restored" && look.flipped) || channel.c !== look.channel) return "intensity";
  if (pane.name === "restored") return look.overlay ? "marked" : "intensity";
  return look.layer;
}

/** Values drawn at no and at full strength: of its kind, else of this array. */
function limitsOf({ limits, coding, offset, step }) {
  if (limits) return limits;
  return coding === "log2" ? [0, 2 ** (offset + 254 * step)] : [offset, offset + 255 * step];
}

const footprint = (texels) => Math.min(MAX_FOOTPRINT, Math.max(1, Math.round(texels)));

/** Textures by key; one is made anew only when its shape or type changes. */
class Textures {
  constructor(gl) {
    this.gl = gl;
    this.held = new Map();
  }

  get(key) {
    return this.held.get(key);
  }

  /** Upload an array of codes: integers, exact, for planes; numbers that can be interpolated for volumes. */
  put(key, array) {
    const volume = array.shape.length === 3;
    const target = volume ? this.gl.TEXTURE_3D : this.gl.TEXTURE_2D;
    const kind = `${array.shape}/${array.dtype}`;
    let entry = this.held.get(key);
    if (entry && entry.kind !== kind) this.drop(key);
    if (!entry || entry.kind !== kind) entry = { kind, target, texture: this.make(target, volume), fresh: true };
    this.held.set(key, entry);
    entry.array = array;
    this.gl.activeTexture(this.gl.TEXTURE0);
    this.gl.bindTexture(target, entry.texture);
    (volume ? uploadVolume : uploadPlane)(this.gl, array, entry.fresh);
    entry.fresh = false;
  }

  make(target, smooth) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(target, texture);
    const filter = smooth ? gl.LINEAR : gl.NEAREST;
    gl.texParameteri(target, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(target, gl.TEXTURE_MAG_FILTER, filter);
    for (const axis of ["S", "T", "R"]) gl.texParameteri(target, gl[`TEXTURE_WRAP_${axis}`], gl.CLAMP_TO_EDGE);
    return texture;
  }

  drop(key) {
    const entry = this.held.get(key);
    if (entry) this.gl.deleteTexture(entry.texture);
    this.held.delete(key);
  }

  /** Keep only these keys. */
  keep(keys) {
    for (const key of [...this.held.keys()]) if (!keys.has(key)) this.drop(key);
  }
}

function uploadPlane(gl, { shape: [height, width], dtype, codes }, fresh) {
  const [inner, type] = dtype === "uint16" ? [gl.R16UI, gl.UNSIGNED_SHORT] : [gl.R8UI, gl.UNSIGNED_BYTE];
  if (fresh) gl.texImage2D(gl.TEXTURE_2D, 0, inner, width, height, 0, gl.RED_INTEGER, type, codes);
  else gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, gl.RED_INTEGER, type, codes);
}

/** 16-bit codes become half floats in 0…1: the only such format that every WebGL2 interpolates. */
function uploadVolume(gl, { shape: [depth, height, width], dtype, codes }, fresh) {
  const wide = dtype === "uint16";
  const [inner, type] = wide ? [gl.R16F, gl.FLOAT] : [gl.R8, gl.UNSIGNED_BYTE];
  const data = wide ? shares(codes) : codes;
  if (fresh) gl.texImage3D(gl.TEXTURE_3D, 0, inner, width, height, depth, 0, gl.RED, type, data);
  else gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, 0, width, height, depth, gl.RED, type, data);
}

function shares(codes) {
  const found = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) found[i] = codes[i] / 65535;
  return found;
}
