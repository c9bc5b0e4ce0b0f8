// Many images in groups, of which only those in sight are in the page. `data`: groups (title, ids,
// names), by (what they are grouped by), size (pixels of an image), side (of the thumbnails to
// load), favorites (ids), can (what the person may do), albums, classes (labels by classifier),
// images and thumbnails (addresses), open (the id of an image to view, or null), round (another one
// starts again). Calls `changed` after a change of images, `go` to leave for another page with an
// image.
const GAP = 6, TITLE = 36, AROUND = 300;

export default function ({ data, parentElement, setTriggerValue }) {
  const all = parentElement.querySelector(".all"), root = all.querySelector(".grid"), before = all.grid;
  if (before && before.round === data.round) { before.update(data); return; }
  const top = root.scrollTop, kept = before?.end();
  let waiting = 0;
  all.grid = grid(all, data, {
    // several changes in a row are reported once
    changed: () => { clearTimeout(waiting); waiting = setTimeout(() => setTriggerValue("changed", Date.now()), 800); },
    go: (what, id) => setTriggerValue("go", { what, id }),
  }, kept);
  root.scrollTop = before?.by === data.by ? top : 0;
  return () => { all.grid?.end(); all.grid = undefined; };
}

function grid(all, data, notify, kept) {
  const root = all.querySelector(".grid"), sheet = all.querySelector(".sheet"), bar = all.querySelector(".bar");
  const head = all.querySelector(".head"), said = all.querySelector(".said"), drawn = new Map(), site = siteOf(data);
  const ids = data.groups.flatMap((group) => group.ids), names = data.groups.flatMap((group) => group.names);
  const there = new Set(ids), chosen = new Set([...(kept?.chosen ?? [])].filter((id) => there.has(id)));
  const listeners = new AbortController(), on = { signal: listeners.signal };
  let ended = false, rows = [], columns = 1, cell = data.size, anchor = 0, favorites = new Set(data.favorites);
  let current = Math.max(0, ids.indexOf(kept?.current));

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
    let heading = rowAt(root.scrollTop);  // of the group in sight, however far above: for screen readers
    while (heading > 0 && rows[heading].title === undefined) heading--;
    if (heading < from) {
      wanted.add(`t${heading}`);
      if (!drawn.has(`t${heading}`)) add(`t${heading}`, title(rows[heading]));
    }
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
    const active = root.getRootNode().activeElement;
    for (const [key, element] of drawn)
      if (!wanted.has(key) && !element.contains(active)) {
        element.remove();
        drawn.delete(key);
      }
    drawHead();
  };
  const add = (key, element) => { drawn.set(key, element); sheet.append(element); };

  // The title of the group in sight stays at the top, pushed away by the next one.
  const drawHead = () => {
    let at = rowAt(root.scrollTop);
    while (at > 0 && rows[at].title === undefined) at--;
    let next = at + 1;
    while (next < rows.length && rows[next].title === undefined) next++;
    head.textContent = rows[at]?.title ?? "";
    const push = next < rows.length ? Math.min(0, rows[next].top - root.scrollTop - TITLE) : 0;
    head.style.transform = `translateY(${push}px)`;
    head.style.right = `${root.offsetWidth - root.clientWidth}px`;
  };

  const title = (row) => {
    const element = make("h2", { className: "title", textContent: row.title });
    element.style.top = `${row.top}px`;
    return element;
  };
  const image = (index, row) => {
    const button = make("button", { type: "button", className: "image", title: names[index], tabIndex: index === current ? 0 : -1 },
      make("img", { alt: names[index], decoding: "async", draggable: false, src: `${site.thumbnails}/${ids[index]}?side=${data.side}` }));
    button.dataset.index = index;
    const pick = make("input", { type: "checkbox", className: "pick", tabIndex: -1, ariaLabel: `Select ${names[index]}` });
    const element = make("div", { className: "cell" }, button, ...(data.can.select ? [pick] : []));
    Object.assign(element.style, {
      top: `${row.top}px`, left: `${(index - row.first) * (cell + GAP)}px`, width: `${cell}px`, height: `${cell}px`,
    });
    show(element, ids[index]);
    return element;
  };
  const show = (element, id) => {  // chosen or not, favorite or not
    element.classList.toggle("chosen", chosen.has(id));
    const pick = element.querySelector(".pick"), heart = element.querySelector(".heart");
    if (pick) pick.checked = chosen.has(id);
    if (favorites.has(id) && !heart) element.append(make("span", { className: "heart", textContent: "♥", role: "img", ariaLabel: "Favorite" }));
    if (!favorites.has(id)) heart?.remove();
  };
  const showAll = () => {
    for (const [key, element] of drawn) if (typeof key === "number") show(element, ids[key]);
    root.classList.toggle("picking", chosen.size > 0);
    drawBar();
  };

  // --- choosing ---
  const range = (from, to) => ids.slice(Math.min(from, to), Math.max(from, to) + 1);
  const toggle = (index) => {
    if (!data.can.select) return;
    if (!chosen.delete(ids[index])) chosen.add(ids[index]);
    anchor = index;
    showAll();
  };
  const extend = (to) => {
    if (!data.can.select) return;
    for (const id of range(anchor, to)) chosen.add(id);
    showAll();
  };
  const clear = () => { chosen.clear(); showAll(); };

  // --- the action bar ---
  const act = async (body, wanted = [...chosen]) => {
    try {
      const done = await change(site, { ids: wanted, ...body });
      if (body.do === "favorite") for (const id of wanted) body.value ? favorites.add(id) : favorites.delete(id);
      say(said, done.said, done.undo && (() => act(done.undo, done.undo.ids)));
      notify.changed();
      showAll();
      return true;
    } catch (error) { say(said, error.message); return false; }
  };
  const ask = (label, fields, then) => {  // a small form in the bar's place
    const inputs = fields.map(([name, values]) => {
      const known = make("datalist", { id: `grid-${name.replace(/\W/g, "")}` }, ...values.map((value) => make("option", { value })));
      return [make("input", { ariaLabel: name, placeholder: name, list: known.id, required: true }), known];
    });
    const form = make("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        if (await act(then(...inputs.map(([input]) => input.value.trim())))) drawBar();
      },
      onkeydown: (event) => { event.stopPropagation(); if (event.key === "Escape") { drawBar(); root.focus(); } },
    }, make("b", { textContent: label }), ...inputs.flat(), make("button", { className: "tool", textContent: "OK" }), tool("Cancel", () => drawBar()));
    bar.replaceChildren(form);
    inputs[0][0].focus();
  };
  const drawBar = () => {
    bar.hidden = !chosen.size;
    if (!chosen.size) return;
    const one = chosen.size === 1, every = [...chosen].every((id) => favorites.has(id)), { can } = data;
    const classes = Object.entries(data.classes);
    bar.replaceChildren(make("b", { textContent: `${chosen.size.toLocaleString()} selected` }),
      ...(can.write ? [
        tool(every ? "♥ No favorite" : "♡ Favorite", () => act({ do: "favorite", value: !every })),
        tool("Album", () => ask("Add to the album", [["Album", data.albums]], (value) => ({ do: "album", value }))),
        tool("Rating", () => ask("Stars", [["0 to 5", ["1", "2", "3", "4", "5", "0", "-1"]]], (value) => ({ do: "rate", value: Number(value) }))),
        tool("Tag", () => ask("Add the tag", [["Tag", data.tags]], (value) => ({ do: "tag", add: [value] }))),
        tool("Label for training", () => ask("Label for training", [["Classifier", classes.map(([name]) => name)], ["Class", [...new Set(classes.flatMap(([, labels]) => labels))]]],
          (classifier, value) => ({ do: "label", classifier, value }))),
        ...(can.trash ? [tool("Delete", async () => { if (await act({ do: "trash" })) clear(); })] : []),
      ] : []),
      tool("Download", () => download(site, all, [...chosen])),
      ...(one ? [tool("More like this", () => notify.go("like", [...chosen][0]))] : []),
      ...(one ? [tool("Ask about it", () => notify.go("ask", [...chosen][0]))] : []),
      ...(one && can.studio ? [tool("Use as control", () => notify.go("studio", [...chosen][0]))] : []),
      tool("Clear", () => { clear(); focus(current); }));
  };

  // --- keyboard ---
  const rowOf = (index) => rows.find((row) => index >= row.first && index < row.end);
  const focus = (index) => {
    const next = Math.min(ids.length - 1, Math.max(0, index)), row = rowOf(next);
    if (!row) return;
    const button = (at) => drawn.get(at)?.querySelector(".image");
    if (button(current)) button(current).tabIndex = -1;
    current = next;
    if (row.top - TITLE < root.scrollTop) root.scrollTop = row.top - TITLE;  // below the title that stays
    if (row.top + cell > root.scrollTop + root.clientHeight)
      root.scrollTop = row.top + cell - root.clientHeight;
    draw();
    button(current).tabIndex = 0;
    button(current).focus({ preventScroll: true });
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
  const moves = {
    ArrowRight: () => current + 1, ArrowLeft: () => current - 1,
    ArrowDown: () => beside(1), ArrowUp: () => beside(-1),
    PageDown: () => current + columns * page(), PageUp: () => current - columns * page(),
    Home: () => 0, End: () => ids.length - 1,
  };
  const open = (index) => {
    current = index;
    openViewer(all, site, {
      ids, names, at: index, can: data.can,
      closed: (at) => { address(""); ended ? all.grid?.focus(ids[at]) : focus(at); },
      changed: (body, of) => {
        if (body.do === "favorite") for (const id of of) body.value ? favorites.add(id) : favorites.delete(id);
        showAll();
        notify.changed();
      },
      go: notify.go,
    });
  };
  root.addEventListener("keydown", (event) => {
    if (event.altKey) return;
    if ((event.ctrlKey || event.metaKey) && event.key === "a" && data.can.select) {
      event.preventDefault();
      for (const id of ids) chosen.add(id);
      showAll();
    }
    if (event.ctrlKey || event.metaKey) return;
    const move = moves[event.key];
    if (move) {
      const from = current;
      focus(move());
      if (event.shiftKey) { if (!chosen.size) anchor = from; extend(current); }
    } else if (event.key === "x" || event.key === " ") event.shiftKey ? extend(current) : toggle(current);
    else if (event.key === "f" && data.can.write) {
      const wanted = chosen.size ? [...chosen] : [ids[current]];
      act({ do: "favorite", value: !wanted.every((id) => favorites.has(id)) }, wanted);
    } else if (event.key === "Delete" && data.can.trash && chosen.size) act({ do: "trash" }).then((done) => done && clear());
    else if (event.key === "Escape" && chosen.size) clear();
    else return;
    event.preventDefault();
    event.stopPropagation();  // Streamlit's own keys
  }, on);
  root.addEventListener("keyup", (event) => { if (event.key === " ") event.preventDefault(); }, on);

  // --- mouse ---
  let dragged = false;
  root.addEventListener("click", (event) => {  // Enter clicks a button, too
    if (dragged) { dragged = false; event.preventDefault(); return; }
    const button = event.target.closest(".cell")?.querySelector(".image");
    if (!button) return;
    const index = Number(button.dataset.index);
    if (event.shiftKey) { event.preventDefault(); extend(index); focus(index); showAll(); }
    else if (event.target.matches(".pick")) { toggle(index); focus(index); }
    else if (event.ctrlKey || event.metaKey) { toggle(index); focus(index); }
    else open(index);
  }, on);
  root.addEventListener("pointerdown", (event) => {
    dragged = false;
    if (event.button || event.pointerType !== "mouse" || !data.can.select || event.target.matches(".pick")) return;
    const box = root.getBoundingClientRect();
    if (event.clientX > box.left + root.clientWidth) return;  // the scroll bar
    const spot = (one) => [one.clientX - box.left, one.clientY - box.top + root.scrollTop];
    const [left, top] = spot(event), had = event.shiftKey || event.ctrlKey || event.metaKey ? [...chosen] : [];
    let band = null, last = event, scrolling = 0;
    const stretch = () => {
      const [x, y] = spot(last);
      const [x1, x2, y1, y2] = [Math.min(left, x), Math.max(left, x), Math.min(top, y), Math.max(top, y)];
      Object.assign(band.style, { left: `${x1}px`, top: `${y1}px`, width: `${x2 - x1}px`, height: `${y2 - y1}px` });
      chosen.clear();
      for (const id of had) chosen.add(id);
      for (const row of rows) {
        if (row.title !== undefined || row.top > y2 || row.top + cell < y1) continue;
        for (let index = row.first; index < row.end; index++) {
          const at = (index - row.first) * (cell + GAP);
          if (at <= x2 && at + cell >= x1) chosen.add(ids[index]);
        }
      }
      showAll();
    };
    const stop = new AbortController(), until = { signal: stop.signal };
    window.addEventListener("pointermove", (moved) => {
      last = moved;
      const [x, y] = spot(moved);
      if (!band && Math.hypot(x - left, y - top) < 8) return;
      if (!band) {
        band = make("div", { className: "band" });
        sheet.append(band);
        dragged = true;
        scrolling = setInterval(() => {  // at the upper and lower edge
          const over = last.clientY < box.top + 20 ? -12 : last.clientY > box.bottom - 20 ? 12 : 0;
          if (over) { root.scrollTop += over; stretch(); }
        }, 30);
      }
      stretch();
    }, until);
    const end = () => { clearInterval(scrolling); band?.remove(); stop.abort(); };
    window.addEventListener("pointerup", end, until);
    window.addEventListener("pointercancel", end, until);
  }, on);
  root.addEventListener("scroll", draw, { ...on, passive: true });

  const resized = new ResizeObserver(place);
  resized.observe(root);
  showAll();
  if (data.open && !window.ragcoreViewer) open(ids.indexOf(data.open));
  return {
    round: data.round,
    by: data.by,
    update: (fresh) => {  // the same images, with other marks
      favorites = new Set(fresh.favorites);
      const opened = fresh.open && fresh.open !== data.open;  // Forward
      data = fresh;
      showAll();
      if (opened && !window.ragcoreViewer) open(ids.indexOf(fresh.open));
    },
    focus: (id) => focus(ids.indexOf(id)),
    end: () => {
      ended = true;
      resized.disconnect();
      listeners.abort();
      return { chosen, current: ids[current] };
    },
  };
}
