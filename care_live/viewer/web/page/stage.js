// The three panes, as rectangles of one canvas; and canvases that are drawn on with a pen.

/** Panes as rectangles of the canvas, in its pixels. */
export function panesOf(stage) {
  const origin = stage.getBoundingClientRect();
  const ratio = devicePixelRatio;
  return [...stage.querySelectorAll(".pane")].map((element) => {
    const box = element.getBoundingClientRect();
    const [x, y] = [Math.round((box.x - origin.x) * ratio), Math.round((box.y - origin.y) * ratio)];
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    return { name: element.dataset.pane, title: element.querySelector("h2").textContent, x, y, width, height };
  });
}

/** Give canvases as many pixels as the screen has there. */
export function fit(stage, canvases) {
  const ratio = devicePixelRatio;
  const [width, height] = [Math.round(stage.clientWidth * ratio), Math.round(stage.clientHeight * ratio)];
  for (const canvas of canvases) {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  }
}

/** An empty canvas with as many pixels as the screen has there; its context and its size are in the page's own pixels. */
export function cleared(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  Object.assign(canvas, { width: width * devicePixelRatio, height: height * devicePixelRatio });
  const context = canvas.getContext("2d");
  context.scale(devicePixelRatio, devicePixelRatio);
  return { context, width, height };
}
