// Results: documents with their passages, and images, as lists with headings. `data`: sections
// (title, folded, documents, images), density, thumbnails and originals (addresses below the
// root), round (another one begins again). Whatever is chosen sends {act, hit} as `chosen`.
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".results");
  root.className = `results ${data.density}`;
  if (root.round === data.round) return;
  root.round = data.round;
  const base = window.__streamlit?.BACKEND_BASE_URL ?? `${location.origin}/`;
  const choose = (act, hit) => setTriggerValue("chosen", { act, hit });
  root.replaceChildren(...data.sections.map((section) => sectionOf(section)));

  function make(name, className, ...children) {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  function button(className, label, act, hit) {
    const element = make("button", className, label);
    element.type = "button";
    element.addEventListener("click", () => choose(act, hit));
    return element;
  }

  function sectionOf(section) {
    const parts = [];
    if (section.documents.length) parts.push(make("section", "",
      make("h2", "", section.documentsTitle),
      make("ul", "", ...section.documents.map(documentOf))));
    if (section.images.length) parts.push(make("section", "",
      make("h2", "", section.imagesTitle),
      make("ul", "images", ...section.images.map(imageOf))));
    const both = make("div", parts.length > 1 ? "both" : "", ...parts);
    if (!section.title) return both;
    const folded = make("details", "below", make("summary", "", section.title), both);
    folded.open = section.open;
    return folded;
  }

  function documentOf(one) {
    const head = make("h3", "", button("open", one.title, "open", one.hit));
    const foot = make("div", "foot", make("p", "about", one.about), originalOf(one));
    const shown = one.passages.slice(0, one.shown).map(passageOf);
    const rest = one.passages.slice(one.shown).map(passageOf);
    return make("li", "document", head, foot,
      shown.length ? make("ol", "", ...shown) : null,
      rest.length ? make("details", "", make("summary", "", one.more), make("ol", "", ...rest)) : null);
  }

  function originalOf(one) {
    const link = make("a", "", "Open original");
    link.href = `${base}${data.originals}/${one.original}`;
    link.target = "_blank";
    link.rel = "noopener";
    return link;
  }

  function passageOf(one) {
    const text = make("p", "text", ...one.parts.map(([part, marked]) =>
      marked ? make("mark", "", part) : part));
    const foot = make("div", "foot", make("p", "about", one.about),
      ...one.acts.map(([act, label]) => button("act", label, act, one.hit)));
    return make("li", "passage",
      one.place ? button("open place", one.place, "open", one.hit) : null, text, foot);
  }

  function imageOf(one) {
    const image = document.createElement("img");
    image.alt = one.alt;
    image.loading = "lazy";
    image.decoding = "async";
    image.src = `${base}${data.thumbnails}/${one.id}?side=${data.side}`;
    const thumb = button("thumb", "", "open", one.hit);
    thumb.append(image);
    const name = button("open", one.title, "open", one.hit);
    name.title = one.title;
    const acts = make("div", "acts", ...one.acts.map(([act, label]) =>
      button("act", label, act, one.hit)));
    const more = make("details", "", make("summary", "", "More"), acts);
    more.firstChild.setAttribute("aria-label", `More for ${one.title}`);
    return make("li", "image", thumb, make("h3", "", name),
      one.caption ? make("p", "about", one.caption) : null,
      one.about ? make("p", "about", one.about) : null, more);
  }
}
