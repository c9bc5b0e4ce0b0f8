// The viewer, opened by the server. `data`: ids, names, at, why (lines by id), can, images and
// thumbnails (addresses), round (another one opens it again). Calls `closed`, and `go` to leave for
// another page with an image.
export default function ({ data, parentElement, setTriggerValue }) {
  const host = parentElement.querySelector(".viewed");
  if (host.round !== data.round && !window.ragcoreViewer) {
    host.round = data.round;
    host.viewer = openViewer(host, siteOf(data), {
      ...data,
      closed: () => setTriggerValue("closed", Date.now()),
      changed: () => {},
      go: (what, id) => setTriggerValue("go", { what, id }),
    });
  }
  return () => host.viewer?.end();
}
