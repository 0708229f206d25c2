// One binary message of the gateway: uint32 header length, JSON header, arrays padded to 8 bytes.

const ALIGN = 8;

/** Take a message apart; resolves to {header, arrays}, arrays by "channel/product/plane". */
export async function readPicture(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let start = 4 + length;
  const reading = header.arrays.map((described) => {
    const here = start;
    start += described.nbytes + ((ALIGN - (described.nbytes % ALIGN)) % ALIGN);
    return readArray(buffer, here, described);
  });
  const arrays = new Map();
  for (const array of await Promise.all(reading)) arrays.set(keyOf(array), array);
  return { header, arrays };
}

export const keyOf = ({ channel, product, plane }) => `${channel}/${product}/${plane}`;

async function readArray(buffer, start, described) {
  if (described.codec === "webp") {
    const codes = await readWebp(new Uint8Array(buffer, start, described.nbytes), described.shape);
    return { ...described, codes };
  }
  const n = described.shape.reduce((product, size) => product * size, 1);
  const codes = described.dtype === "uint16" ? new Uint16Array(buffer, start, n) : new Uint8Array(buffer, start, n);
  return { ...described, codes };
}

/** The red channel of a WebP picture, without the colour management that would change its codes. */
async function readWebp(bytes, [height, width]) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/webp" }), options);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const codes = new Uint8Array(width * height);
  for (let i = 0; i < codes.length; i++) codes[i] = rgba[4 * i];
  return codes;
}
