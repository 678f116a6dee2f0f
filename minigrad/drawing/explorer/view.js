// The picture: boxes of HTML, arrows of SVG, a camera. User's text goes in as textContent only.

const SVG = "http://www.w3.org/2000/svg";
const HUES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]; // Okabe & Ito (2008)
const NOT_FINITE = { inf: "∞", "-inf": "−∞" }; // as JSON writes them here
const FAR = 0.45; // below this scale only names are shown

const byId = (id) => document.getElementById(id);

function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content.filter((part) => part !== null));
  return made;
}

/** A user's text, which may run from right to left, apart from what stands around it. */
function bdi(text, className = "") {
  return element("bdi", className, text);
}

/** A number in few characters. */
function brief(number) {
  if (number == null) return "?";
  if (!Number.isFinite(Number(number))) return NOT_FINITE[number] ?? "NaN";
  const size = Math.abs(number);
  const text =
    size && (size < 1e-3 || size >= 1e5)
      ? Number(number).toExponential(1)
      : String(Number(Number(number).toPrecision(3)));
  return text.replaceAll("-", "−").replace("e+", "e");
}

/** How a vertex is called in text: as its user did, else by its place on the tape. */
function nameOf(vertex) {
  return vertex.label || vertex.name || (vertex.place ? `%${vertex.place}` : "constant");
}

class View {
  constructor(graph, shows) {
    this.graph = graph;
    this.shows = shows; // what happens when a vertex is chosen, or a group folded
    this.camera = { x: 0, y: 0, scale: 1 };
    this.boxes = new Map(); // elements of vertices, folded groups and titles of open ones, by key
    this.sizes = new Map();
    this.scale = scaleOf(graph.vertices);
    this.byGradient = false;
    this.drawn = { items: [], groups: [], edges: [] };
    this.canvas = byId("canvas");
    this.world = byId("world");
  }

  /** Draw what is unfolded now. What `fixed` stands for stays where it is on the screen. */
  draw(fixed = null) {
    const { root, edges } = this.graph;
    const before = fixed && this.placeOf(fixed);
    const { items, groups } = visible(root);
    this.drawn = { items, groups: groups.slice(1), edges: visibleEdges(edges) };
    this.build();
    layout(root, this.drawn.edges, this.sizes);
    for (const item of items) this.put(this.boxes.get(item.key), item);
    for (const group of this.drawn.groups) this.put(this.boxes.get(`open ${group.key}`), group);
    this.drawEdges();
    if (before) {
      const after = this.placeOf(fixed);
      this.move(before.x - after.x, before.y - after.y);
    }
  }

  placeOf(item) {
    const { x, y, scale } = this.camera;
    return { x: x + (item.x + item.w / 2) * scale, y: y + item.y * scale };
  }

  /** Elements for what is drawn, new ones measured all at once. */
  build() {
    const { items, groups } = this.drawn;
    const wanted = new Map(items.map((item) => [item.key, item]));
    for (const group of groups) wanted.set(`open ${group.key}`, group);
    for (const [key, box] of this.boxes) {
      if (!wanted.has(key)) {
        box.remove();
        this.boxes.delete(key);
      }
    }
    const made = [];
    for (const [key, item] of wanted) {
      if (this.boxes.has(key)) continue;
      const box =
        item.isGroup && item.open ? this.openBox(item) : item.isGroup ? this.foldedBox(item) : this.vertexBox(item);
      this.boxes.set(key, box);
      (item.isGroup && item.open ? byId("boxes") : byId("nodes")).append(box);
      made.push([item, box]);
    }
    // Tab goes through boxes in the order of the tape.
    for (const item of items) byId("nodes").append(this.boxes.get(item.key));
    for (const [item, box] of made) {
      const measured = item.isGroup && item.open ? box.firstChild : box;
      this.sizes.set(item.key, { w: measured.offsetWidth + 2, h: measured.offsetHeight });
    }
  }

  vertexBox(vertex) {
    const { label, formula, shape, dtype, kind } = vertex;
    const name = label || vertex.name;
    const common = this.graph.dtype;
    const box = element(
      "div",
      `node ${kind}`,
      vertex.inputs.length ? element("span", "place", String(vertex.place)) : null,
      name ? bdi(name, "name") : null,
      formula ? bdi(formula, "formula") : null,
      element("span", "shape", shape + (dtype && dtype !== common ? ` ${dtype}` : "")),
    );
    if (vertex.hue !== undefined) {
      box.classList.add("hued");
      box.style.setProperty("--hue", colorOf(vertex.hue));
    }
    if (vertex.born) box.classList.add("born");
    if (vertex.verdict) {
      box.classList.add(vertex.verdict.ok ? "right" : "wrong");
      box.append(bdi(vertex.verdict.told, "verdict"));
    }
    return this.listen(box, vertex, `${nameOf(vertex)}${formula ? ` = ${formula}` : ""}, ${kind}, shape ${shape}`);
  }

  foldedBox(group) {
    const parameters = group.parameters ? `, ${group.parameters.toLocaleString("en")} parameters` : "";
    const told = `${group.nodes.toLocaleString("en")} node${group.nodes === 1 ? "" : "s"}${parameters}`;
    const box = element(
      "div",
      "node folded",
      element("span", "name", "⊞ ", bdi(group.title)),
      bdi(contentOf(group), "formula"),
      element("span", "shape", told),
    );
    box.setAttribute("aria-expanded", "false");
    return this.listen(box, group, `scope ${group.title}, folded, ${told}`);
  }

  openBox(group) {
    const title = element("div", "title", "⊟ ", bdi(group.title));
    title.setAttribute("aria-expanded", "true");
    this.listen(title, group, `scope ${group.title}, unfolded, ${group.nodes} nodes`);
    return element("div", "group", title);
  }

  listen(box, item, label) {
    box.dataset.key = item.key;
    box.tabIndex = 0;
    box.setAttribute("role", "button");
    box.setAttribute("aria-label", label);
    const norm = normOf(item);
    if (norm !== null) box.setAttribute("aria-label", `${label}, gradient norm ${brief(norm)}`);
    box.addEventListener("click", () => this.shows.choose(item));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.shows.choose(item);
    });
    for (const type of ["pointerenter", "focus"]) box.addEventListener(type, () => this.shows.tell(item, box));
    for (const type of ["pointerleave", "blur"]) box.addEventListener(type, () => this.shows.tell(null));
    return box;
  }

  put(box, { x, y, w, h }) {
    box.style.transform = `translate(${x}px, ${y}px)`;
    box.style.width = `${w}px`;
    box.style.height = `${h}px`;
  }

  drawEdges() {
    const svg = byId("edges");
    const { w, h } = this.graph.root;
    svg.setAttribute("width", w);
    svg.setAttribute("height", h);
    svg.replaceChildren(...this.drawn.edges.map((edge) => this.edge(edge)));
  }

  edge(edge) {
    const made = document.createElementNS(SVG, "g");
    made.setAttribute(
      "class",
      edge.parts.every((part) => part.kind === "operand") ? "edge" : `edge ${edge.parts[0].kind}`,
    );
    const line = pathOf(edge.points);
    const hues = strandsOf(edge, this.graph);
    const add = (className, d, style = {}) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", className);
      path.setAttribute("d", d);
      Object.assign(path.style, style);
      made.append(path);
      return path;
    };
    edge.line = add("reach", line);
    add("line", line);
    hues.forEach((hue, k) => {
      add("strand", line, { stroke: colorOf(hue), transform: `translateX(${(k - (hues.length - 1) / 2) * 2.4}px)` });
    });
    const [x, y] = edge.points.at(-1);
    add("head", `M${x - 4.5} ${y - 8}L${x} ${y}L${x + 4.5} ${y - 8}Z`);
    if (hues.length === 1) made.style.setProperty("--hue", colorOf(hues[0]));
    made.addEventListener("pointerenter", (event) => this.shows.tellEdge(edge, event));
    made.addEventListener("pointerleave", () => this.shows.tell(null));
    edge.element = made;
    return made;
  }

  // The camera

  move(dx, dy) {
    this.camera.x += dx;
    this.camera.y += dy;
    this.look();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(4, Math.max(0.02, this.camera.scale * factor));
    const change = scale / this.camera.scale;
    this.camera = { x: x - (x - this.camera.x) * change, y: y - (y - this.camera.y) * change, scale };
    this.look();
  }

  /** Show everything; no smaller than `least`, then the beginning. */
  fit(least = 0) {
    const { w, h } = this.graph.root;
    const { clientWidth } = this.canvas;
    const height = this.canvas.clientHeight - byId("legend").offsetHeight;
    const margin = 24;
    const whole = Math.min((clientWidth - 2 * margin) / w, (height - 2 * margin) / h, 1.4);
    const scale = Math.max(whole, Math.min(least, 1));
    const y = whole < scale ? margin : (height - h * scale) / 2;
    this.camera = { x: (clientWidth - w * scale) / 2, y, scale };
    this.look();
  }

  /** Move no further than needed for this to be seen. */
  see(item) {
    const { x, y, scale } = this.camera;
    const margin = 48;
    const shift = (start, size, room) => {
      const end = start + size;
      if (start < margin) return margin - start;
      return end > room - margin ? Math.max(room - margin - end, margin - start) : 0;
    };
    const dx = shift(x + item.x * scale, item.w * scale, this.canvas.clientWidth);
    const dy = shift(y + item.y * scale, item.h * scale, this.canvas.clientHeight);
    if (dx || dy) this.move(dx, dy);
  }

  look() {
    const { x, y, scale } = this.camera;
    this.world.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    this.canvas.classList.toggle("far", scale < FAR);
  }
}

/** A line through points that arrives and leaves vertically at each of them. */
function pathOf(points) {
  const n = (value) => Math.round(value * 10) / 10;
  return points.reduce((path, [x, y], k) => {
    if (!k) return `M${n(x)} ${n(y)}`;
    const [x0, y0] = points[k - 1];
    const middle = n((y0 + y) / 2);
    return Math.abs(x - x0) < 0.5
      ? `${path}L${n(x)} ${n(y)}`
      : `${path}C${n(x0)} ${middle} ${n(x)} ${middle} ${n(x)} ${n(y)}`;
  }, "");
}

/** The color of named values: 0 are outputs, and so many names have no color of their own. */
function colorOf(hue) {
  return hue ? (HUES[hue - 1] ?? "var(--faint)") : "var(--ink)";
}

/** The colors of the named values that an edge leads to. */
function strandsOf(edge, graph) {
  const keys = new Set(edge.parts.flatMap((part) => part.strands));
  const hues = [...keys].map((key) => graph.byKey.get(key).hue);
  return [...new Set(hues)].filter((hue) => hue > 0);
}
