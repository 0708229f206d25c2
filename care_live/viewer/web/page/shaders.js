// GLSL. A plane is drawn as a rectangle of the specimen's world (µm); a volume is marched through.

const COMMON = `#version 300 es
precision highp float;
precision highp int;

uniform vec2 contrast;      // shown black, shown white
uniform float gamma;
uniform vec3 tint;
uniform int layer;          // 0 intensity, 1 with marks, 2 relative uncertainty, 3 disagreement, 4 another map
uniform vec2 background;    // counts of the background, and a floor that keeps 1/signal finite
uniform float halfWidth;    // half of the interval in units of b
uniform float threshold;    // mark where the half interval exceeds this share of the signal
uniform float disagreeAbove;
uniform bool hasScale, hasDisagreement, hasMap;
uniform float markAbove;    // of the map with marks: hatched where it is farther from 0; 1e38: there is no such map
uniform vec2 mapLimits;     // of another map: drawn at no and at full strength; from below 0, where it has two sides

const float NO_NUMBER = 1e30;   // code 255 of a logarithm: infinite, so the place is as unsure as can be
const vec3 ABOVE = vec3(0.361, 0.784, 1.0);     // missing, as in doubts.js
const vec3 BELOW = vec3(1.0, 0.478, 0.102);     // invented
const vec3 UNCERTAIN = vec3(0.902, 0.624, 0.0);
const vec3 DISAGREE = vec3(0.8, 0.475, 0.655);

float luma(vec3 colour) { return dot(colour, vec3(0.2126, 0.7152, 0.0722)); }

float brightness(float counts) {
  return pow(clamp((counts - contrast.x) / (contrast.y - contrast.x), 0.0, 1.0), gamma);
}

// The hue at a brightness, as strong as the screen can show it there. White has no hue, so a mark gives in by 3 % at most.
vec3 inHue(vec3 hue, float brightest) {
  float g = min(brightest, 0.97);
  vec3 colour = hue * (g / luma(hue));
  float most = max(colour.r, max(colour.g, colour.b));
  return most > 1.0 ? mix(vec3(g), colour, (1.0 - g) / (most - g)) : colour;
}

// Dark blue over grey to yellow: even for the colour-blind, and rising in lightness.
vec3 ramp(float value) {
  const vec3 stops[5] = vec3[](vec3(0.0, 0.135, 0.305), vec3(0.255, 0.309, 0.424), vec3(0.487, 0.484, 0.470),
                               vec3(0.742, 0.683, 0.426), vec3(0.995, 0.906, 0.213));
  float at = clamp(value, 0.0, 1.0) * 4.0;
  int i = min(int(at), 3);
  return mix(stops[i], stops[i + 1], at - float(i));
}

float signal(float mean) { return abs(mean - background.x) + background.y; }
float foreground(float mean) { return smoothstep(1.0, 2.0, (mean - background.x) / background.y); }

// Thin lines over a place that contradicts the photons; they lean to the right where it is invented, else to the left.
vec3 hatch(vec3 colour, float evidence) {
  if (abs(evidence) < markAbove) return colour;
  float across = evidence < 0.0 ? gl_FragCoord.x - gl_FragCoord.y : gl_FragCoord.x + gl_FragCoord.y;
  return mix(colour, evidence < 0.0 ? BELOW : ABOVE, 0.8 * step(0.8, fract(across / 10.0)));
}

// Another map: two colours on both sides of 0, over the image, dimmed; a ramp where it has one side.
vec3 shadeMap(float value, float g) {
  if (mapLimits.x >= 0.0) return ramp((value - mapLimits.x) / (mapLimits.y - mapLimits.x));
  float share = clamp(value / mapLimits.y, -1.0, 1.0);
  return mix(vec3(0.35 * g), share < 0.0 ? BELOW : ABOVE, abs(share));
}

vec3 shade(float counts, float scale, float disagreement, float another) {
  float g = brightness(counts);
  float relative = halfWidth * scale / signal(counts);
  float here = foreground(counts);
  if (layer == 2) return hasScale ? mix(vec3(0.03), ramp(relative * 0.5 / threshold), here) : vec3(0.03);
  if (layer == 3) return hasDisagreement ? mix(vec3(0.03), ramp(disagreement), here) : vec3(0.03);
  if (layer == 4) return hasMap ? shadeMap(another, g) : vec3(0.03);
  vec3 colour = tint * g;
  if (layer == 0) return colour;
  float up = step(0.5, fract((gl_FragCoord.x + gl_FragCoord.y) / 8.0));
  float down = step(0.5, fract((gl_FragCoord.x - gl_FragCoord.y) / 8.0));
  float unsure = hasScale ? here * smoothstep(threshold * 0.95, threshold * 1.05, relative) : 0.0;
  float apart = hasDisagreement ? here * step(disagreeAbove, disagreement) : 0.0;
  float bright = luma(colour);
  colour = mix(colour, inHue(UNCERTAIN, bright), unsure * mix(0.35, 1.0, up));
  return mix(colour, inHue(DISAGREE, bright), apart * down);
}
`;

export const PLANE_VERTEX = `#version 300 es
in vec2 corner;
out vec2 place;
uniform vec4 rectangle;   // x, y, width, height in the world, µm
uniform vec2 centre;      // of the pane, in the world
uniform vec2 toClip;      // µm to clip units
void main() {
  place = corner;
  vec2 world = rectangle.xy + corner * rectangle.zw;
  gl_Position = vec4((world - centre) * toClip * vec2(1.0, -1.0), 0.0, 1.0);
}`;

export const PLANE_FRAGMENT = `${COMMON}
precision highp usampler2D;
in vec2 place;
out vec4 pixel;
uniform usampler2D image, scaleImage, disagreementImage, mapImage, markedImage;
uniform vec2 imageCode, scaleCode, disagreementCode, mapCode, markedCode;   // offset, step
uniform bool mapIsLog;
uniform ivec2 footprint;                               // texels that fall into one screen pixel

float average(usampler2D codes, vec2 code, bool logarithmic) {
  ivec2 size = textureSize(codes, 0);
  vec2 at = place * vec2(size) - 0.5 * vec2(footprint - 1);
  float sum = 0.0;
  for (int j = 0; j < footprint.y; j++) for (int i = 0; i < footprint.x; i++) {
    uint raw = texelFetch(codes, clamp(ivec2(floor(at)) + ivec2(i, j), ivec2(0), size - 1), 0).r;
    float value = code.x + code.y * float(raw);
    sum += logarithmic ? (raw == 0u ? 0.0 : raw == 255u ? NO_NUMBER : exp2(value)) : value;
  }
  return sum / float(footprint.x * footprint.y);
}

// Farthest from 0 of the texels in one screen pixel: a mark must not vanish from a picture that is made smaller.
float farthest(usampler2D codes, vec2 code) {
  ivec2 size = textureSize(codes, 0);
  vec2 at = place * vec2(size) - 0.5 * vec2(footprint - 1);
  float most = 0.0;
  for (int j = 0; j < footprint.y; j++) for (int i = 0; i < footprint.x; i++) {
    uint raw = texelFetch(codes, clamp(ivec2(floor(at)) + ivec2(i, j), ivec2(0), size - 1), 0).r;
    float value = code.x + code.y * float(raw);
    if (abs(value) > abs(most)) most = value;
  }
  return most;
}

void main() {
  float counts = average(image, imageCode, false);
  float scale = hasScale ? average(scaleImage, scaleCode, true) : 0.0;
  float disagreement = hasDisagreement ? average(disagreementImage, disagreementCode, true) : 0.0;
  float another = hasMap ? average(mapImage, mapCode, mapIsLog) : 0.0;
  vec3 colour = shade(counts, scale, disagreement, another);
  pixel = vec4(markAbove < 1e30 ? hatch(colour, farthest(markedImage, markedCode)) : colour, 1.0);
}`;

export const VOLUME_VERTEX = `#version 300 es
in vec2 corner;
out vec2 screen;
uniform vec2 halfPane;    // half of the pane in µm
uniform vec2 centre;
void main() {
  screen = centre + (corner * 2.0 - 1.0) * halfPane;
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

export const VOLUME_FRAGMENT = `${COMMON}
precision highp sampler3D;
in vec2 screen;
out vec4 pixel;
uniform sampler3D image, scaleImage, disagreementImage, mapImage;
uniform vec2 imageCode, scaleCode, disagreementCode, mapCode;
uniform bool mapIsLog;
uniform vec3 halfExtent;   // of the volume, µm
uniform mat3 turn;         // screen to volume
uniform int steps;         // along a ray, at most

float counts(vec3 at) { return imageCode.x + imageCode.y * texture(image, at).r * 65535.0; }
float value8(sampler3D codes, vec2 code, vec3 at) { return code.x + code.y * texture(codes, at).r * 255.0; }
float unlog(sampler3D codes, vec2 code, vec3 at) {
  return texture(codes, at).r > 254.5 / 255.0 ? NO_NUMBER : exp2(value8(codes, code, at));
}

void main() {
  vec3 start = turn * vec3(screen, -length(halfExtent));
  vec3 along = turn * vec3(0.0, 0.0, 1.0);
  vec3 safe = mix(vec3(1e-6), along, step(vec3(1e-6), abs(along)));
  vec3 one = (-halfExtent - start) / safe, other = (halfExtent - start) / safe;
  vec3 nearest = min(one, other), farthest = max(one, other);
  float enter = max(nearest.x, max(nearest.y, nearest.z)), leave = min(farthest.x, min(farthest.y, farthest.z));
  if (enter >= leave) { pixel = vec4(0.0); return; }
  // One step from plane to plane of the axis that the ray runs along most, through the middle of each: there the
  // maxima of interpolated voxels lie.
  vec3 size = vec3(textureSize(image, 0));
  vec3 pace = along * size / (2.0 * halfExtent);   // voxels per µm
  vec3 fast = abs(pace);
  int axis = fast.x >= max(fast.y, fast.z) ? 0 : fast.y >= fast.z ? 1 : 2;
  float into = ((start[axis] + along[axis] * enter) / (2.0 * halfExtent[axis]) + 0.5) * size[axis];
  float first = enter + fract(0.5 - sign(pace[axis]) * into) / fast[axis];
  float apart = ceil(size[axis] / float(steps)) / fast[axis];
  vec3 there = (start + along * 0.5 * (enter + leave)) / (2.0 * halfExtent) + 0.5;
  float most = counts(there);                      // of a ray that only grazes a corner
  for (int i = 0; i < steps; i++) {
    float way = first + float(i) * apart;
    if (way > leave) break;
    vec3 at = (start + along * way) / (2.0 * halfExtent) + 0.5;
    float value = counts(at);
    if (value > most) { most = value; there = at; }
  }
  float scale = hasScale ? unlog(scaleImage, scaleCode, there) : 0.0;
  float disagreement = hasDisagreement ? unlog(disagreementImage, disagreementCode, there) : 0.0;
  float another = hasMap ? value8(mapImage, mapCode, there) : 0.0;
  if (mapIsLog) another = exp2(another);
  pixel = vec4(shade(most, scale, disagreement, another), 1.0);
}`;
