// Pan, zoom, turn and point, in whichever pane: all panes share one camera.

import { toWorld, transform } from "./geometry.js";

const ZOOM = { min: 0.5, max: 60 };
const CLICK_PX = 4;

export class Pointer {
  /** `page` gives panes(), header(), look, and takes moved(), pointed(place | null), clicked(place). */
  constructor(stage, page) {
    this.page = page;
    this.held = new Map();
    stage.querySelectorAll(".pane").forEach((pane) => {
      pane.addEventListener("pointerdown", (event) => this.down(pane, event));
      pane.addEventListener("pointermove", (event) => this.move(pane, event));
      pane.addEventListener("pointerup", (event) => this.up(pane, event));
      pane.addEventListener("pointercancel", (event) => this.held.delete(event.pointerId));
      pane.addEventListener("pointerleave", () => page.pointed(null));
      pane.addEventListener("wheel", (event) => this.wheel(pane, event), { passive: false });
      pane.addEventListener("dblclick", () => this.reset());
    });
  }

  pane(element) {
    return this.page.panes().find((pane) => pane.name === element.dataset.pane);
  }

  /** World coordinates under the pointer, µm. */
  place(element, event) {
    const pane = this.pane(element);
    const view = transform(this.page.header(), this.page.look.camera, pane);
    const ratio = devicePixelRatio;
    const [x, y] = toWorld(view, pane, event.offsetX * ratio, event.offsetY * ratio);
    return { x, y, view };
  }

  down(element, event) {
    if (!this.page.header()) return;
    element.setPointerCapture(event.pointerId);
    this.held.set(event.pointerId, { x: event.clientX, y: event.clientY, far: false });
  }

  move(element, event) {
    if (!this.page.header()) return;
    const last = this.held.get(event.pointerId);
    if (!last) {
      this.page.pointed(this.place(element, event));
      return;
    }
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    if (!last.far && Math.hypot(dx, dy) < CLICK_PX) return;
    if (this.held.size === 2) this.pinch(event, dx, dy);
    else if (this.page.header().mode === "volume" && !event.shiftKey) this.turn(dx, dy);
    else this.pan(element, dx, dy);
    Object.assign(last, { x: event.clientX, y: event.clientY, far: true });
  }

  up(element, event) {
    const last = this.held.get(event.pointerId);
    this.held.delete(event.pointerId);
    this.page.look.turning = false;
    if (last && !last.far) this.page.clicked(this.place(element, event));
    this.page.moved();
  }

  pan(element, dx, dy) {
    const { camera } = this.page.look;
    const { scale } = transform(this.page.header(), camera, this.pane(element));
    camera.x -= (dx * devicePixelRatio) / scale;
    camera.y -= (dy * devicePixelRatio) / scale;
    this.page.moved();
  }

  turn(dx, dy) {
    const { look } = this.page;
    look.azimuth -= dx / 150;
    look.elevation = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, look.elevation + dy / 150));
    look.turning = true;
    this.page.moved();
  }

  /** Two fingers: the change of their distance is the change of zoom. */
  pinch(event, dx, dy) {
    const [other] = [...this.held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    const before = Math.hypot(event.clientX - dx - other.x, event.clientY - dy - other.y);
    const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
    this.zoom(after / Math.max(before, 1));
  }

  wheel(element, event) {
    event.preventDefault();
    if (!this.page.header()) return;
    const before = this.place(element, event);
    this.zoom(Math.exp(-event.deltaY / 400));
    const after = this.place(element, event);
    this.page.look.camera.x += before.x - after.x;
    this.page.look.camera.y += before.y - after.y;
    this.page.moved();
  }

  zoom(factor) {
    const { camera } = this.page.look;
    camera.zoom = Math.min(ZOOM.max, Math.max(ZOOM.min, camera.zoom * factor));
    this.page.moved();
  }

  reset() {
    Object.assign(this.page.look.camera, { x: 0, y: 0, zoom: 1 });
    this.page.moved();
  }
}

