// The few WebGL2 calls that everything else is made of.

export function openContext(canvas) {
  const gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true, alpha: false });
  if (!gl) throw new Error("This browser has no WebGL2; use a current Firefox, Chrome, Edge or Safari.");
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  return gl;
}

/** A linked program with its uniform locations by name. */
export function makeProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.bindAttribLocation(program, 0, "corner");
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  const uniforms = {};
  for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
    const { name } = gl.getActiveUniform(program, i);
    uniforms[name] = gl.getUniformLocation(program, name);
  }
  return { program, uniforms };
}

/** The corners (0, 0) to (1, 1), as a triangle strip at attribute 0. */
export function bindCorners(gl) {
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
}

/** Textures by key; one is made anew only when its shape or type changes. */
export class Textures {
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
