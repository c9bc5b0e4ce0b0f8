// A drawing field. `data`: side (pixels of the image that is handed back), regions (colors on
// white, or white strokes on black), colors, pen (pixels), image (what to begin with), round
// (another one starts again). What is drawn comes back as the state `image`, a PNG as a data
// address, or null while nothing is drawn.
const UNDOS = 30, SHOWN = 384, WAIT = 250;

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".sketch");
  if (root.field && root.field.round === data.round) return;
  root.field?.end();
  root.field = field(root, data, setStateValue);
  return () => { root.field?.end(); root.field = undefined; };
}

function field(root, data, send) {
  const find = (name) => root.querySelector(name);
  const scale = Math.max(1, Math.round(SHOWN / data.side)), side = data.side * scale;
  const canvas = find("canvas"), size = find(".pen"), palette = find(".colors");
  canvas.width = canvas.height = side;
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const paper = data.regions ? "#ffffff" : "#000000";
  const state = { tool: "pen", color: data.regions ? data.colors[0] : "#ffffff", last: null };
  const undos = [], timers = {};
  const listeners = new AbortController(), on = { signal: listeners.signal };

  const blank = () => { paint.fillStyle = paper; paint.fillRect(0, 0, side, side); };
  const remember = () => {
    undos.push(paint.getImageData(0, 0, side, side));
    if (undos.length > UNDOS) undos.shift();
  };
  const hand = () => {
    clearTimeout(timers.hand);
    timers.hand = setTimeout(() => send("image", exported(canvas, data)), WAIT);
  };
  const choose = (tool) => {
    state.tool = tool;
    for (const button of root.querySelectorAll("[data-tool]"))
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * side / box.width,
            (event.clientY - box.top) * side / box.height];
  };
  const stroke = (from, to) => {
    paint.strokeStyle = state.tool === "rubber" ? paper : state.color;
    paint.lineWidth = size.value * scale;
    paint.lineCap = paint.lineJoin = "round";
    paint.beginPath();
    paint.moveTo(...from);
    paint.lineTo(to[0] + 0.01, to[1]);
    paint.stroke();
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    remember();
    clearTimeout(timers.hand);
    if (state.tool === "fill") { flood(paint, side, at(event), state.color); hand(); return; }
    state.last = at(event);
    stroke(state.last, state.last);
  }, on);
  canvas.addEventListener("pointermove", (event) => {
    if (!state.last || !event.isPrimary) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    for (const step of steps.length ? steps : [event]) {
      const next = at(step);
      stroke(state.last, next);
      state.last = next;
    }
  }, on);
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, () => { if (state.last) { state.last = null; hand(); } }, on);

  for (const button of root.querySelectorAll("[data-tool]"))
    button.addEventListener("click", () => choose(button.dataset.tool), on);
  find(".undo").addEventListener("click", () => {
    const before = undos.pop();
    if (before) { paint.putImageData(before, 0, 0); hand(); }
  }, on);
  find(".clear").addEventListener("click", () => { remember(); blank(); hand(); }, on);

  find('[data-tool="fill"]').hidden = palette.hidden = !data.regions;
  palette.replaceChildren(...(data.regions ? data.colors : []).map((color) => {
    const button = document.createElement("button");
    button.type = "button";
    button.style.background = color;
    button.setAttribute("aria-label", `Color ${color}`);
    button.setAttribute("aria-pressed", String(color === state.color));
    button.addEventListener("click", () => {
      state.color = color;
      for (const other of palette.children)
        other.setAttribute("aria-pressed", String(other === button));
      if (state.tool === "rubber") choose("pen");
    }, on);
    return button;
  }));
  size.max = Math.max(8, Math.round(data.side / 4));
  size.value = data.pen;
  choose("pen");
  blank();
  if (data.image) {
    const image = new Image();
    image.onload = () => {
      paint.imageSmoothingEnabled = false;
      paint.drawImage(image, 0, 0, side, side);
    };
    image.src = data.image;
  }
  return { round: data.round, end: () => { clearTimeout(timers.hand); listeners.abort(); } };
}

// The drawing at its own size: strokes either white or black, regions as they are.
function exported(canvas, data) {
  const small = document.createElement("canvas");
  small.width = small.height = data.side;
  const paint = small.getContext("2d");
  paint.imageSmoothingEnabled = !data.regions;
  paint.imageSmoothingQuality = "high";
  paint.drawImage(canvas, 0, 0, data.side, data.side);
  const pixels = paint.getImageData(0, 0, data.side, data.side), bytes = pixels.data;
  const paper = data.regions ? 255 : 0;
  let drawn = false;
  for (let place = 0; place < bytes.length; place += 4) {
    for (let channel = place; channel < place + 3; channel++) {
      if (!data.regions) bytes[channel] = bytes[channel] > 100 ? 255 : 0;
      drawn ||= bytes[channel] !== paper;
    }
  }
  if (!drawn) return null;
  paint.putImageData(pixels, 0, 0);
  return small.toDataURL("image/png");
}

// Fill what is joined to a point and nearly of its color.
function flood(paint, side, [x, y], color) {
  const image = paint.getImageData(0, 0, side, side), bytes = image.data;
  const wanted = [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
  const start = 4 * (Math.min(side - 1, Math.max(0, y | 0)) * side
    + Math.min(side - 1, Math.max(0, x | 0)));
  const old = [bytes[start], bytes[start + 1], bytes[start + 2]];
  const like = (place) => Math.abs(bytes[place] - old[0]) + Math.abs(bytes[place + 1] - old[1])
    + Math.abs(bytes[place + 2] - old[2]) < 90;
  const seen = new Uint8Array(side * side), stack = [start / 4];
  while (stack.length) {
    const place = stack.pop();
    if (seen[place] || !like(4 * place)) continue;
    seen[place] = 1;
    bytes.set(wanted, 4 * place);
    if (place % side) stack.push(place - 1);
    if (place % side < side - 1) stack.push(place + 1);
    if (place >= side) stack.push(place - side);
    if (place < side * (side - 1)) stack.push(place + side);
  }
  paint.putImageData(image, 0, 0);
}
