// What Streamlit's pages lack in a browser: history, keyboard, and a sentence for a server that is
// away. Put into every page by app/access.py, before Streamlit's own scripts.
(() => {
  // --- history: one entry for each search, page, open document and conversation ---------------
  // Streamlit replaces the address when a widget that is bound to it changes, and adds an entry
  // whenever a script sets it. Here the first change after somebody did something adds an entry,
  // and what follows from it belongs to that. `state.from` is the address of the entry before.
  const native = {
    push: history.pushState.bind(history), replace: history.replaceState.bind(history),
  };
  const MINOR = ["at", "size", "density", "mix"];  // what changes without being another place
  let acted = false;  // since the address changed, or Back or Forward was used
  const without = (url, names) => {
    const bare = new URL(url, location.href);
    names.forEach((name) => bare.searchParams.delete(name));
    bare.searchParams.sort();
    return bare.href;
  };
  const isOpen = (url) => new URL(url, location.href).searchParams.has("open");
  const go = (state, _title, url) => {
    const from = location.href, next = new URL(url ?? from, from).href;
    const stay = () => native.replace({ ...state, from: history.state?.from }, "", next);
    const other = isOpen(from) && isOpen(next)  // the next image, say
      && without(from, ["open", "at"]) === without(next, ["open", "at"]);
    const closes = isOpen(from) && !isOpen(next)
      && without(from, ["open", "at"]) === without(next, ["at"]);
    if (closes && window.ragcoreLeaving) return;  // another page follows: one step back is the image
    window.ragcoreLeaving = false;
    if (!acted || other || without(next, MINOR) === without(from, MINOR)) return stay();
    acted = false;
    if (!closes) return native.push({ ...state, from }, "", next);
    const before = history.state?.from;
    if (before && without(before, []) === without(next, [])) history.back();
    else stay();
  };
  history.pushState = go;
  history.replaceState = go;
  addEventListener("popstate", () => { acted = false; }, true);
  for (const kind of ["pointerdown", "keydown"])
    addEventListener(kind, () => { acted = true; }, true);

  // --- keyboard: "/" goes to the page's box; it has the focus when a page is loaded ------------
  const BOX = "[data-testid=stMain] input[type=search], [data-testid=stChatInput] textarea,"
    + " [data-testid=stMain] [data-testid=stTextInput] input";
  const box = () => [...document.querySelectorAll(BOX)].find((one) => one.offsetParent !== null);
  addEventListener("keydown", (event) => {
    const at = event.composedPath()[0];
    const typing = at.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(at.tagName);
    const there = event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey
      && !document.querySelector("[role=dialog]") && box();
    if (!there) return;
    event.preventDefault();
    there.focus();
    there.select();
  });
  let touched = false;
  addEventListener("pointerdown", () => { touched = true; }, { capture: true, once: true });
  const focusOnce = new MutationObserver(() => {
    const nobody = document.activeElement === document.body && !touched;
    const there = nobody && box();
    if (there) there.focus({ preventScroll: true });
    if (!nobody || there) focusOnce.disconnect();
  });
  if (!matchMedia("(pointer: coarse)").matches)  // no keyboard over half of a phone's page
    focusOnce.observe(document, { childList: true, subtree: true });

  // --- "Copy" below an answer ------------------------------------------------------------------
  addEventListener("click", async (event) => {
    const button = event.target.closest?.(".rc-copy");
    const text = button?.closest(".rc-copied")?.querySelector(".rc-text");
    if (!text) return;
    try {
      await navigator.clipboard.writeText(text.innerText);
    } catch {  // no https, so no clipboard for scripts
      getSelection().selectAllChildren(text);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
  });

  // --- a server that is away ------------------------------------------------------------------
  const AWAY = "ragcore does not answer: it was stopped, or this computer cannot reach it. Nothing "
    + "that was stored is lost. This page goes on by itself when ragcore is back.";
  let connected = false;
  const watch = () => {
    const state = document.querySelector("[data-testid=stApp]")?.dataset.testConnectionState;
    connected ||= state === "CONNECTED";
    const away = connected && state && state !== "CONNECTED";
    const note = document.getElementById("rc-away");
    document.documentElement.classList.toggle("rc-is-away", Boolean(away));
    if (away && !note) {
      const alert = document.createElement("div");
      alert.id = "rc-away";
      alert.setAttribute("role", "alert");
      alert.textContent = AWAY;
      document.body.append(alert);
    } else if (!away) note?.remove();
  };
  new MutationObserver(watch).observe(document, {
    subtree: true, childList: true, attributes: true,
    attributeFilter: ["data-test-connection-state"],
  });
})();
