// The picture: boxes in HTML, arrows in SVG, and a camera. Users' text is only written as textContent.

const SVG = "http://www.w3.org/2000/svg";
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]; // Okabe & Ito (2008)
const NOT_FINITE = { inf: "∞", "-inf": "−∞" }; // by their strings in the data
const FAR = 0.45; // below this scale only names are shown

const byId = (id) => document.getElementById(id);

function element(tag, className, ...content) {
  const created = document.createElement(tag);
  if (className) created.className = className;
  created.append(...content.filter((part) => part !== null));
  return created;
}

/** A user's text, isolated from the text around it, as it may run from right to left. */
function bdi(text, className = "") {
  return element("bdi", className, text);
}

/** A number in three digits. */
function formatNumber(number) {
  if (number == null) return "?";
  if (!Number.isFinite(Number(number))) return NOT_FINITE[number] ?? "NaN";
  const size = Math.abs(number);
  const text =
    size && (size < 1e-3 || size >= 1e5)
      ? Number(number).toExponential(1)
      : String(Number(Number(number).toPrecision(3)));
  return text.replaceAll("-", "−").replace("e+", "e");
}

/** The label or name of a vertex; without one, its place on the tape. */
function nameOf(vertex) {
  return vertex.label || vertex.name || (vertex.place ? `%${vertex.place}` : "constant");
}

class View {
  constructor(graph, actions) {
    this.graph = graph;
    this.actions = actions; // functions that are called when an item is chosen, or needs a card
    this.camera = { x: 0, y: 0, scale: 1 };
    this.boxes = new Map(); // elements of vertices, folded groups and titles of open ones, by key
    this.sizes = new Map();
    this.scale = scaleOf(graph.vertices);
    this.byGradient = false;
    this.drawn = { items: [], groups: [], edges: [] };
    this.canvas = byId("canvas");
    this.world = byId("world");
  }

  /** Draw everything that is unfolded. The item `fixed` stays where it is on the screen. */
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

  /** Create the missing elements, remove those that are no longer drawn, and measure the new ones all at once. */
  build() {
    const { items, groups } = this.drawn;
    const needed = new Map(items.map((item) => [item.key, item]));
    for (const group of groups) needed.set(`open ${group.key}`, group);
    for (const [key, box] of this.boxes) {
      if (!needed.has(key)) {
        box.remove();
        this.boxes.delete(key);
      }
    }
    const added = [];
    for (const [key, item] of needed) {
      if (this.boxes.has(key)) continue;
      const box =
        item.isGroup && item.open ? this.openBox(item) : item.isGroup ? this.foldedBox(item) : this.vertexBox(item);
      this.boxes.set(key, box);
      (item.isGroup && item.open ? byId("boxes") : byId("nodes")).append(box);
      added.push([item, box]);
    }
    // Tab visits boxes in the order of the tape.
    for (const item of items) byId("nodes").append(this.boxes.get(item.key));
    for (const [item, box] of added) {
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
    if (vertex.color !== undefined) {
      box.classList.add("colored");
      box.style.setProperty("--value-color", colorOf(vertex.color));
    }
        if (vertex.arises) box.classList.add("origin");
    if (vertex.verdict) {
      box.classList.add(vertex.verdict.ok ? "right" : "wrong");
      box.append(bdi(vertex.verdict.message, "verdict"));
    }
    return this.listen(box, vertex, `${nameOf(vertex)}${formula ? ` = ${formula}` : ""}, ${kind}, shape ${shape}`);
  }

  foldedBox(group) {
    const parameters = group.parameters ? `, ${group.parameters.toLocaleString("en")} parameters` : "";
    const size = `${counted(group.nodes, "node", "nodes")}${parameters}`;
    const box = element(
      "div",
      "node folded",
      element("span", "name", "⊞ ", bdi(group.title)),
      bdi(contentOf(group), "formula"),
      element("span", "shape", size),
    );
    box.setAttribute("aria-expanded", "false");
    return this.listen(box, group, `scope ${group.title}, folded, ${size}`);
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
    if (norm !== null) box.setAttribute("aria-label", `${label}, gradient norm ${formatNumber(norm)}`);
    box.addEventListener("click", () => this.actions.choose(item));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.actions.choose(item);
    });
    for (const type of ["pointerenter", "focus"]) box.addEventListener(type, () => this.actions.showCard(item, box));
    for (const type of ["pointerleave", "blur"]) box.addEventListener(type, () => this.actions.showCard(null));
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
    svg.replaceChildren(...this.drawn.edges.map((edge) => this.drawEdge(edge)));
  }

  drawEdge(edge) {
    const group = document.createElementNS(SVG, "g");
    group.setAttribute(
      "class",
      edge.parts.every((part) => part.kind === "operand") ? "edge" : `edge ${edge.parts[0].kind}`,
    );
    const line = pathOf(edge.points);
    const colors = colorsOf(edge, this.graph);
    const add = (className, d, style = {}) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", className);
      path.setAttribute("d", d);
      Object.assign(path.style, style);
      group.append(path);
      return path;
    };
    edge.line = add("reach", line);
    add("line", line);
    colors.forEach((color, k) => {
      const transform = `translateX(${(k - (colors.length - 1) / 2) * 2.4}px)`;
      add("colored-line", line, { stroke: colorOf(color), transform });
    });
    const [x, y] = edge.points.at(-1);
    add("head", `M${x - 4.5} ${y - 8}L${x} ${y}L${x + 4.5} ${y - 8}Z`);
    if (colors.length === 1) group.style.setProperty("--value-color", colorOf(colors[0]));
    group.addEventListener("pointerenter", (event) => this.actions.showEdgeCard(edge, event));
    group.addEventListener("pointerleave", () => this.actions.showCard(null));
    edge.element = group;
    return group;
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

  /** Show everything; if the scale would be below `least`, show the beginning at that scale. */
  fit(least = 0) {
    const { w, h } = this.graph.root;
    const { clientWidth } = this.canvas;
    const height = this.canvas.clientHeight - byId("legend").offsetHeight;
    const margin = 24;
    const fitting = Math.min((clientWidth - 2 * margin) / w, (height - 2 * margin) / h, 1.4);
    const scale = Math.max(fitting, Math.min(least, 1));
    const y = fitting < scale ? margin : (height - h * scale) / 2;
    this.camera = { x: (clientWidth - w * scale) / 2, y, scale };
    this.look();
  }

  /** Move as far as needed to make an item visible. */
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

/** The path of a line that is vertical at each of these points. */
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

/** The color of a named value by its number: 0 is an output, and numbers above the last color are gray. */
function colorOf(color) {
  return color ? (COLORS[color - 1] ?? "var(--faint)") : "var(--ink)";
}

/** The numbers of the colors of the named values that an edge leads to. */
function colorsOf(edge, graph) {
  const keys = new Set(edge.parts.flatMap((part) => part.leads_to));
  const colors = [...keys].map((key) => graph.byKey.get(key).color);
  return [...new Set(colors)].filter((color) => color > 0);
}
