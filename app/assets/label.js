// Images or passages that are given classes. `data`: items (id, name, text of a passage), classes,
// given (the class of each labelled item, by id), active (the class that a click gives), seen (the
// last change that the server has stored), thumbnails (address), side, label (of the whole). What is
// changed comes back as the state `given`, [[number, [ids], class or null], …] since `seen`: changes
// that follow each other quickly are all in it.
export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".labelling");
  root.labelling ??= labelling(root);
  root.labelling.update(data, setStateValue);
  return () => root.labelling?.end();
}

function labelling(root) {
  const base = window.__streamlit?.BACKEND_BASE_URL ?? `${location.origin}/`;
  const listeners = new AbortController(), on = { signal: listeners.signal };
  let data, send, tiles = [], given = new Map(), pending = [], current = 0, anchor = 0, drawn = "";

  const make = (name, className, text = "") => {
    const element = document.createElement(name);
    element.className = className;
    element.textContent = text;
    return element;
  };
  const tileOf = (item, index) => {
    const tile = make("button", "tile");
    tile.type = "button";
    tile.dataset.index = index;
    if (data.passages) tile.append(make("span", "text", item.text));
    else {
      const image = make("img", "");
      image.alt = tile.title = item.name;
      image.decoding = "async";
      image.draggable = false;
      image.src = `${base}${data.thumbnails}/${item.id}?side=${data.side}`;
      tile.append(image);
    }
    tile.append(make("span", "class"));
    return tile;
  };
  const show = () => tiles.forEach((tile, index) => {
    const label = given.get(data.items[index].id);
    tile.setAttribute("aria-pressed", String(label !== undefined));
    tile.tabIndex = index === current ? 0 : -1;
    tile.querySelector(".class").textContent = label ?? `+ ${data.active}`;
  });
  const give = (first, last, label) => {
    const ids = data.items.slice(Math.min(first, last), Math.max(first, last) + 1).map((item) => item.id);
    for (const id of ids) label === null ? given.delete(id) : given.set(id, label);
    const number = Math.max(Date.now(), data.seen + 1, (pending.at(-1)?.[0] ?? 0) + 1);
    pending.push([number, ids, label]);
    show();
    send("given", [...pending]);
  };
  const focus = (index) => {
    current = Math.min(tiles.length - 1, Math.max(0, index));
    show();
    tiles[current]?.focus();
  };
  const columns = () => Math.max(1, tiles.findIndex((tile) => tile.offsetTop > tiles[0].offsetTop));
  const moves = {
    ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: columns, ArrowUp: () => -columns(),
    Home: () => -tiles.length, End: () => tiles.length,
  };

  root.addEventListener("click", (event) => {  // Enter and the space bar click, too
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const index = Number(tile.dataset.index);
    if (event.shiftKey) give(anchor, index, data.active);
    else give(index, index, given.get(data.items[index].id) === data.active ? null : data.active);
    anchor = current = index;
    show();
  }, on);
  root.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const label = data.classes[Number(event.key) - 1];
    if (moves[event.key]) focus(current + moves[event.key]());
    else if (/^[1-9]$/.test(event.key) && label !== undefined) {
      give(current, current, label);
      anchor = current;
      focus(current + 1);
    } else if (event.key === "0" || event.key === "Delete") give(current, current, null);
    else return;
    event.preventDefault();
    event.stopPropagation();  // Streamlit's own keys
  }, on);

  return {
    update: (fresh, setStateValue) => {
      data = fresh;
      send = setStateValue;
      given = new Map(Object.entries(data.given).map(([id, label]) => [Number(id), label]));
      pending = pending.filter(([number]) => number > data.seen);
      for (const [, ids, label] of pending) for (const id of ids) label === null ? given.delete(id) : given.set(id, label);
      const wanted = JSON.stringify(data.items);
      if (wanted !== drawn) {  // other items
        drawn = wanted;
        current = anchor = 0;
        root.classList.toggle("passages", data.passages);
        root.setAttribute("aria-label", data.label);
        tiles = data.items.map(tileOf);
        root.replaceChildren(...tiles);
      }
      show();
    },
    end: () => { listeners.abort(); root.labelling = undefined; },
  };
}
