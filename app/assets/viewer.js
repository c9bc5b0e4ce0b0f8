// The viewer of images over the whole window, and what it shares with the grid. `site` has the
// addresses: `images` for those below /_ragcore/images, `thumbnails`.

const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
};
const tool = (label, press, attributes = {}) =>
  make("button", { type: "button", className: "tool", textContent: label, onclick: press, ...attributes });

const siteOf = (data) => {
  const base = window.__streamlit?.BACKEND_BASE_URL ?? `${location.origin}/`;
  return { images: base + data.images, thumbnails: base + data.thumbnails };
};

// Ask the server for a change of images; what it said, or an Error with its sentence.
const change = async (site, body) => {
  const answer = await fetch(site.images, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const result = await answer.json().catch(() => ({ said: "The server does not answer." }));
  if (!answer.ok) throw new Error(result.said);
  return result;
};

// What the address says is open; another one of it is no new entry of the history (shell.js).
const address = (open) => {
  const url = new URL(location.href);
  if (url.searchParams.get("open") === open) return;
  url.searchParams.delete("open");
  if (open) url.searchParams.set("open", open);
  history.pushState(history.state, "", url);
};

// One sentence for a while, with an action such as Undo.
const say = (place, text, undo) => {
  clearTimeout(place.timer);
  place.replaceChildren(make("span", { textContent: text }), ...(undo ? [tool("Undo", undo)] : []));
  place.timer = setTimeout(() => place.replaceChildren(), undo ? 12000 : 5000);
};

const download = (site, root, ids) => {
  const frame = make("iframe", { name: "ragcore-download", hidden: true, title: "Download" });
  const form = make("form", { method: "post", action: `${site.images}/zip`, target: frame.name, hidden: true },
    make("input", { name: "ids", value: ids.join(",") }));
  root.querySelector("iframe[name=ragcore-download]")?.remove();
  root.append(frame, form);
  form.submit();
  form.remove();
};

// `options`: ids, names, at (where to begin), can (what may be done), why (lines by id),
// closed (gets the place where one was; not when left by Back or for another page), changed
// (something was changed), go (leave for another page with an image). One is open at a time:
// `window.ragcoreViewer`. The address names the image.
function openViewer(root, site, options) {
  const { ids, names, can } = options, facts = new Map();
  let at = options.at, scale = 1, x = 0, y = 0, about = null, large = false;
  const image = make("img", { draggable: false }), missing = make("div", { className: "missing", hidden: true,
    textContent: "The original file is missing: this is its thumbnail." });
  const name = make("h2"), place = make("span"), strip = make("div", { className: "strip", role: "group", ariaLabel: "All images" });
  const panel = make("aside", { className: "panel", ariaLabel: "Information" }), said = make("div", { className: "said", role: "status" });
  const favorite = tool("♡ Favorite", () => mark({ do: "favorite", value: !about?.favorite }));
  const original = make("a", { className: "tool", textContent: "Original" });
  const info = tool("Information", () => { panel.hidden = !panel.hidden; info.ariaPressed = String(!panel.hidden); }, { ariaPressed: "true" });
  if (innerWidth < 640) { panel.hidden = true; info.ariaPressed = "false"; }
  const video = make("video", { controls: true, hidden: true, preload: "metadata", ariaLabel: "Video" });
  video.addEventListener("error", () => { if (video.getAttribute("src")) video.hidden = true; });  // the frame stays
  const stage = make("div", { className: "stage" }, image, video, missing,
    tool("‹", () => show(at - 1), { className: "tool near before", ariaLabel: "Previous image" }),
    tool("›", () => show(at + 1), { className: "tool near next", ariaLabel: "Next image" }));
  const dialog = make("dialog", { className: "viewer", ariaLabel: "Image" },
    make("header", {}, place, name,
      ...(can.write ? [favorite] : []),
      tool("−", () => zoom(scale / 1.5), { className: "tool zoom", ariaLabel: "Zoom out" }),
      tool("+", () => zoom(scale * 1.5), { className: "tool zoom", ariaLabel: "Zoom in" }),
      tool("Fit", () => zoom(1), { className: "tool zoom" }),
      original,
      tool("More like this", () => leave("like")),
      tool("Near-duplicates", () => leave("same")),
      tool("Ask about it", () => leave("ask")),
      ...(can.studio ? [tool("Use as control", () => leave("studio"))] : []),
      info, tool("Close", () => dialog.close())),
    stage, panel, strip, said);

  const leave = (what) => { const id = ids[at]; window.ragcoreLeaving = true; dialog.end(); options.go(what, id); };

  const draw = () => { image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`; };
  const zoom = (to, left = stage.clientWidth / 2, top = stage.clientHeight / 2) => {
    const next = Math.min(16, Math.max(1, to));
    x = left - ((left - x) * next) / scale;
    y = top - ((top - y) * next) / scale;
    scale = next;
    pan(0, 0);
    if (scale > 1.3 && !large) { large = true; image.src = `${site.images}/${ids[at]}/view?side=4000`; }
  };
  const pan = (right, down) => {
    x = Math.min(0, Math.max(stage.clientWidth * (1 - scale), x + right));
    y = Math.min(0, Math.max(stage.clientHeight * (1 - scale), y + down));
    draw();
  };

  const show = async (to) => {
    at = Math.min(ids.length - 1, Math.max(0, to));
    const id = ids[at];
    scale = 1; x = 0; y = 0; large = false; draw();
    image.src = `${site.images}/${id}/view?side=1600`;
    image.alt = names[at] ?? "";
    name.textContent = names[at] ?? "";
    place.textContent = `${(at + 1).toLocaleString()} of ${ids.length.toLocaleString()}`;
    stage.querySelector(".before").disabled = at === 0;
    stage.querySelector(".next").disabled = at === ids.length - 1;
    original.href = `${site.images}/${id}/original`;
    address(`image-${id}`);
    drawStrip();
    missing.hidden = true;
    video.pause();
    await showFacts(id);
    if (at + 1 < ids.length) new Image().src = `${site.images}/${ids[at + 1]}/view?side=1600`;
  };

  const drawStrip = () => {  // some on both sides: there may be 50,000
    const first = Math.max(0, at - 12), last = Math.min(ids.length, at + 13), cells = [];
    for (let n = first; n < last; n++) {
      const cell = make("button", { type: "button", title: names[n] ?? "", onclick: () => show(n) },
        make("img", { alt: names[n] ?? "", src: `${site.thumbnails}/${ids[n]}?side=160` }));
      if (n === at) cell.setAttribute("aria-current", "true");
      cells.push(cell);
    }
    strip.replaceChildren(...cells);
    const now = cells[at - first];
    strip.scrollLeft = now.offsetLeft - strip.offsetLeft - strip.clientWidth / 2 + 30;
  };

  const showFacts = async (id, again = false) => {
    if (again || !facts.has(id)) {
      const answer = await fetch(`${site.images}/${id}/about`);
      facts.set(id, answer.ok ? await answer.json() : { title: "This image is not there any more.", facts: [], tags: [], albums: [], labels: [] });
    }
    if (ids[at] !== id) return;
    about = facts.get(id);
    name.textContent = about.title;
    missing.hidden = !about.missing;
    const source = about.second === null || about.second === undefined ? "" : `${site.images}/${id}/video#t=${about.second}`;
    video.hidden = !source || about.missing;
    if (video.getAttribute("src") !== source) source ? video.src = source : video.removeAttribute("src");
    favorite.textContent = about.favorite ? "♥ Favorite" : "♡ Favorite";
    favorite.ariaPressed = String(Boolean(about.favorite));
    drawPanel(id);
  };

  const mark = async (body) => {
    const id = ids[at];
    try {
      const result = await change(site, { ids: [id], ...body });
      say(said, result.said);
      options.changed(body, [id]);
    } catch (error) { say(said, error.message); }
    await showFacts(id, true);
  };

  const lines = (title, items) => items.length
    ? [make("h3", { textContent: title }), make("ul", {}, ...items.map((text) => make("li", { textContent: text })))] : [];
  const chips = (items, remove) => make("div", { className: "chips" }, ...items.map((text) => can.write
    ? tool(`${text} ×`, () => remove(text), { ariaLabel: `Remove ${text}` }) : make("span", { className: "tool", textContent: text })));
  const adding = (label, list, add) => make("form", {
    onsubmit: (event) => { event.preventDefault(); const value = event.target[0].value.trim(); if (value) add(value); },
  }, make("input", { ariaLabel: label, placeholder: label, ...(list ? { list } : {}) }), make("button", { className: "tool", textContent: "Add" }));

  const drawPanel = (id) => {
    const parts = lines("Why it was found", options.why?.[id] ?? []);
    if (about.caption) parts.push(make("h3", { textContent: "Caption" }), make("p", { textContent: about.caption }));
    if (about.caption_by) parts.push(make("p", { textContent: `written by ${about.caption_by}, not by a person` }));
    const stars = make("div", { className: "stars", role: "group", ariaLabel: "Rating" });
    for (let n = 1; n <= 5; n++) stars.append(make("button", {
      type: "button", textContent: n <= (about.rating ?? 0) ? "★" : "☆", ariaLabel: `${n} ${n === 1 ? "star" : "stars"}`,
      ariaPressed: String(n === about.rating), disabled: !can.write,
      onclick: () => mark({ do: "rate", value: n === about.rating ? 0 : n }),
    }));
    parts.push(make("h3", { textContent: "Rating" }), stars);
    if (can.write || about.tags.length) parts.push(make("h3", { textContent: "Tags" }),
      chips(about.tags, (tag) => mark({ do: "tag", remove: [tag] })));
    if (can.write) parts.push(adding("Add a tag", "", (tag) => mark({ do: "tag", add: [tag] })));
    if (can.write || about.albums.length) parts.push(make("h3", { textContent: "Albums" }),
      chips(about.albums, (album) => mark({ do: "unalbum", value: album })));
    if (can.write) {
      const known = make("datalist", { id: "viewer-albums" }, ...(about.known_albums ?? []).map((value) => make("option", { value })));
      parts.push(adding("Add to an album", known.id, (album) => mark({ do: "album", value: album })), known);
    }
    if (can.write || about.note) parts.push(make("h3", { textContent: "Note" }), can.write
      ? make("textarea", { ariaLabel: "Note", value: about.note ?? "", maxLength: 10000,
        onchange: (event) => mark({ do: "note", value: event.target.value }) })
      : make("p", { textContent: about.note }));
    parts.push(...lines("Labels", about.labels), ...lines("About", about.facts));
    if (about.text) parts.push(make("details", {}, make("summary", { textContent: "Text in the image" }), make("p", { className: "found", textContent: about.text })));
    panel.replaceChildren(...parts);
  };

  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoom(scale * Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => {
    if (event.target.closest("button")) return;
    const box = stage.getBoundingClientRect();
    zoom(scale > 1 ? 1 : 3, event.clientX - box.left, event.clientY - box.top);
  });
  const fingers = new Map();
  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, video")) return;
    fingers.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    if (fingers.size === 2) {
      const other = [...fingers.values()].find((one) => one.pointerId !== event.pointerId);
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      const box = stage.getBoundingClientRect();
      zoom(scale * apart(event) / Math.max(1, apart(before)), other.clientX - box.left, other.clientY - box.top);
    } else pan(event.clientX - before.clientX, event.clientY - before.clientY);
    fingers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => fingers.delete(event.pointerId));

  const keys = {
    ArrowRight: () => show(at + 1), ArrowLeft: () => show(at - 1), Home: () => show(0), End: () => show(ids.length - 1),
    "+": () => zoom(scale * 1.5), "=": () => zoom(scale * 1.5), "-": () => zoom(scale / 1.5), 0: () => zoom(1),
    i: () => info.click(), f: () => can.write && favorite.click(),
    ...Object.fromEntries([1, 2, 3, 4, 5].map((n) => [n, () => can.write && mark({ do: "rate", value: n })])),
  };
  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation();  // Streamlit's own keys
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, video")) return;
    if (event.key in keys) { event.preventDefault(); keys[event.key](); }
  });
  dialog.end = () => {  // Back, another page, or the part of the page that it belongs to is gone
    window.removeEventListener("popstate", dialog.end);
    if (window.ragcoreViewer === dialog) window.ragcoreViewer = undefined;
    dialog.remove();
  };
  window.addEventListener("popstate", dialog.end);
  dialog.addEventListener("close", () => { if (window.ragcoreViewer !== dialog) return; dialog.end(); options.closed(at); });
  window.ragcoreViewer = dialog;
  root.append(dialog);
  dialog.showModal();
  show(at);
  return dialog;
}
