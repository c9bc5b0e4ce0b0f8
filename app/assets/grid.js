// Many images in groups, of which only those in sight are in the page. `data`: groups (title, ids,
// names), size (pixels of an image), side (of the thumbnails to load), thumbnails (their address
// below the root), round (another one starts again). Opening an image sends its id as `open`.
const GAP = 6, TITLE = 36, AROUND = 300;

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".grid");
  if (root.grid && root.grid.round === data.round) return;
  const top = root.grid ? root.scrollTop : 0;
  root.grid?.end();
  root.grid = grid(root, data, (id) => setTriggerValue("open", id));
  root.scrollTop = top;
  return () => { root.grid?.end(); root.grid = undefined; };
}

function grid(root, data, open) {
  const sheet = root.querySelector(".sheet"), drawn = new Map();
  const base = (window.__streamlit?.BACKEND_BASE_URL ?? `${location.origin}/`) + data.thumbnails;
  const ids = data.groups.flatMap((group) => group.ids);
  const names = data.groups.flatMap((group) => group.names);
  const listeners = new AbortController(), on = { signal: listeners.signal };
  let rows = [], columns = 1, cell = data.size, current = 0;

  // Rows from top to bottom: a group's title, or some images, `first` to `end`.
  const place = () => {
    const width = root.clientWidth;
    columns = Math.max(1, Math.round((width + GAP) / (data.size + GAP)));
    cell = Math.max(1, Math.floor((width + GAP) / columns) - GAP);
    rows = [];
    let top = 0, first = 0;
    for (const group of data.groups) {
      rows.push({ top, height: TITLE, title: group.title });
      top += TITLE;
      const last = first + group.ids.length;
      for (; first < last; first += columns) {
        const end = Math.min(first + columns, last);
        rows.push({ top, height: cell, first, end });
        top += cell + GAP;
        if (end === last) { first = last; break; }
      }
    }
    sheet.style.height = `${top}px`;
    sheet.replaceChildren();
    drawn.clear();
    draw();
  };

  const rowAt = (y) => {  // the last that begins at or above
    let low = 0, high = rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (rows[middle].top <= y) low = middle; else high = middle - 1;
    }
    return low;
  };

  const draw = () => {
    const from = rowAt(root.scrollTop - AROUND), until = root.scrollTop + root.clientHeight + AROUND;
    const wanted = new Set();
    for (let at = from; at < rows.length && rows[at].top < until; at++) {
      const row = rows[at];
      if (row.title !== undefined) {
        wanted.add(`t${at}`);
        if (!drawn.has(`t${at}`)) add(`t${at}`, title(row));
        continue;
      }
      for (let index = row.first; index < row.end; index++) {
        wanted.add(index);
        if (!drawn.has(index)) add(index, image(index, row));
      }
    }
    for (const [key, element] of drawn)
      if (!wanted.has(key) && element !== root.getRootNode().activeElement) {
        element.remove();
        drawn.delete(key);
      }
  };
  const add = (key, element) => { drawn.set(key, element); sheet.append(element); };

  const title = (row) => {
    const element = document.createElement("h3");
    element.className = "title";
    element.textContent = row.title;
    element.style.top = `${row.top}px`;
    return element;
  };
  const image = (index, row) => {
    const button = document.createElement("button"), image = document.createElement("img");
    button.type = "button";
    button.className = "image";
    button.dataset.index = index;
    button.tabIndex = index === current ? 0 : -1;
    button.title = names[index];
    Object.assign(button.style, {
      top: `${row.top}px`, left: `${(index - row.first) * (cell + GAP)}px`,
      width: `${cell}px`, height: `${cell}px`,
    });
    image.alt = names[index];
    image.decoding = "async";
    image.src = `${base}/${ids[index]}?side=${data.side}`;
    button.append(image);
    return button;
  };

  const rowOf = (index) => rows.find((row) => index >= row.first && index < row.end);
  const focus = (index) => {
    const next = Math.min(ids.length - 1, Math.max(0, index)), row = rowOf(next);
    if (drawn.has(current)) drawn.get(current).tabIndex = -1;
    current = next;
    const head = row.first === 0 || rowOf(row.first - 1)?.top + cell + GAP < row.top ? TITLE : 0;
    if (row.top - head < root.scrollTop) root.scrollTop = row.top - head;
    if (row.top + cell > root.scrollTop + root.clientHeight)
      root.scrollTop = row.top + cell - root.clientHeight;
    draw();
    const button = drawn.get(current);
    button.tabIndex = 0;
    button.focus({ preventScroll: true });
  };
  // The image above or below, also in the next group: the same column, or the row's last.
  const beside = (step) => {
    const images = rows.filter((row) => row.title === undefined);
    const at = images.findIndex((row) => current >= row.first && current < row.end);
    const next = images[at + step];
    if (!next) return current;
    return Math.min(next.end - 1, next.first + current - images[at].first);
  };
  const page = () => Math.max(1, Math.floor(root.clientHeight / (cell + GAP)));
  const keys = {
    ArrowRight: () => current + 1, ArrowLeft: () => current - 1,
    ArrowDown: () => beside(1), ArrowUp: () => beside(-1),
    PageDown: () => current + columns * page(), PageUp: () => current - columns * page(),
    Home: () => 0, End: () => ids.length - 1,
  };

  root.addEventListener("scroll", draw, { ...on, passive: true });
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    focus(keys[event.key]());
  }, on);
  root.addEventListener("click", (event) => {  // Enter and Space click a button, too
    const button = event.target.closest(".image");
    if (!button) return;
    const index = Number(button.dataset.index);
    if (drawn.has(current)) drawn.get(current).tabIndex = -1;
    current = index;
    button.tabIndex = 0;
    open(ids[index]);
    back();
  }, on);
  // Once the window that opens now is closed again, the keyboard is back at its image.
  let seen = false;
  const closed = new MutationObserver(() => {
    const there = Boolean(document.querySelector("[role=dialog]"));
    if (seen && !there) {
      closed.disconnect();
      if (ids.length) focus(current);
    }
    seen = there;
  });
  const back = () => {
    seen = false;
    closed.observe(document.body, { childList: true, subtree: true });
  };
  const resized = new ResizeObserver(place);
  resized.observe(root);
  return { round: data.round, end: () => { resized.disconnect(); closed.disconnect(); listeners.abort(); } };
}
