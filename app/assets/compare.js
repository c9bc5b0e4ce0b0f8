// Two images in one place with a border between them that can be moved.
export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".compare");
  const left = root.querySelector(".left"), right = root.querySelector(".right");
  const border = root.querySelector("input");
  left.src = data.left;
  right.src = data.right;
  left.alt = data.names[0];
  right.alt = data.names[1];
  const draw = () => root.style.setProperty("--border", `${border.value}%`);
  border.oninput = draw;
  draw();
}
