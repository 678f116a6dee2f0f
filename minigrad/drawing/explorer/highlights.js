// Highlights of the current step and of the search, the colors of gradients, and labels on arrows.

const RAMP = ["#3b3f8f", "#2b758e", "#21a585", "#7ccf4f", "#f4e61e"]; // after viridis (Smith & van der Walt 2015)

/** Set the classes and colors of boxes and arrows. */
function highlight({ phase, vertex }) {
  const current = vertex && shownFor(vertex);
  const matches = new Set(state.matches.map(shownFor));
  for (const item of view.drawn.items) {
    const box = view.boxes.get(item.key);
    const place = item.first ?? item.place;
    const end = item.last ?? item.place;
    const isAhead = phase === "forward" && place > vertex.place;
    const hasGradient = phase === "whole" || (phase === "backward" && end >= vertex.place);
    box.classList.toggle("current", item === current);
    box.classList.toggle("ahead", isAhead && item !== current);
    box.classList.toggle("found", matches.has(item));
    box.classList.toggle("dimmed", state.matches.length > 0 && !matches.has(item));
    const norm = normOf(item);
    box.classList.remove("painted", "zero");
    if (view.byGradient && hasGradient && norm !== null && view.scale) paint(box, view.scale, norm, isBad(item));
    if (isBad(item)) box.classList.add("bad");
    if (item === current) box.setAttribute("aria-current", "step");
    else box.removeAttribute("aria-current");
  }
  highlightEdges(phase, vertex);
}

function highlightEdges(phase, vertex) {
  const labels = [];
  for (const edge of view.drawn.edges) {
    const { classList } = edge.element;
    const active = vertex ? edge.parts.filter((part) => part.target === vertex) : [];
    const isFlow = active.length > 0 && (phase === "forward" || active.some(isContribution));
    classList.toggle("flow", isFlow);
    classList.toggle("ahead", phase === "forward" && edge.end > vertex.place);
    const hasGradient = phase === "whole" || (phase === "backward" && edge.end >= vertex.place);
    classList.remove("painted", "zero");
    if (view.byGradient && hasGradient && edge.norm !== null) paint(edge.element, view.scale, edge.norm, edge.bad);
    if (isFlow) edge.element.parentNode.append(edge.element);
    if ((isFlow && phase === "backward") || (state.derivatives && edge.parts.some((part) => part.formula))) {
      labels.push(edgeLabel(edge, isFlow && phase === "backward" ? active : edge.parts, isFlow));
    }
  }
  byId("labels").replaceChildren(...labels);
  separate(labels);
}

function edgeLabel(edge, parts, isFlow) {
  const shown = parts
    .slice(0, 2)
    .flatMap((part) => [
      part.formula ? bdi(part.formula) : null,
      isFlow && part.contribution != null ? element("span", "norm", formatNumber(part.contribution)) : null,
    ]);
  const label = element("div", isFlow ? "label flow" : "label", ...shown);
  const at = edge.line.getPointAtLength(edge.line.getTotalLength() * (isFlow ? 0.45 : 0.55));
  return Object.assign(label, { at });
}

/** Place the labels, and move down those that would hide others. */
function separate(labels) {
  const placed = [];
  for (const label of [...labels].sort((a, b) => a.at.y - b.at.y)) {
    const { offsetWidth: w, offsetHeight: h } = label;
    let y = label.at.y - h / 2;
    for (const other of placed) {
      if (Math.abs(other.x - label.at.x) < (other.w + w) / 2 && Math.abs(other.y - y) < h) y = other.y + h + 1;
    }
    placed.push({ x: label.at.x, y, w });
    label.style.transform = `translate(${label.at.x - w / 2}px, ${y}px)`;
  }
}

/**
 * log₁₀ of the smallest and largest gradient, at least two decades apart. A few gradients that are six decades smaller
 * than the others are rounding errors of zero, as before a batch norm: the ramp does not extend to them.
 */
function scaleOf(vertices) {
  const logs = vertices
    .map(normOf)
    .filter((norm) => norm > 0 && norm < Infinity)
    .map(Math.log10)
    .sort((a, b) => a - b);
  if (!logs.length) return null;
  const smallest = logs.slice(0, Math.ceil(logs.length / 4));
  const cut = smallest.findLastIndex((log, k) => logs[k + 1] - log > 6) + 1;
  const [low, high] = [logs[cut], logs.at(-1)];
  const widen = Math.max(0, 2 - (high - low)) / 2;
  return { low: low - widen, high: high + widen, isCut: cut > 0 };
}

function rampAt(scale, norm) {
  const t = Math.min(1, Math.max(0, (Math.log10(norm) - scale.low) / (scale.high - scale.low))) * (RAMP.length - 1);
  const k = Math.min(RAMP.length - 2, Math.floor(t));
  const mix = (i) => {
    const [a, b] = [RAMP[k], RAMP[k + 1]].map((color) => parseInt(color.slice(i, i + 2), 16));
    return Math.round(a + (b - a) * (t - k));
  };
  return [mix(1), mix(3), mix(5)];
}

/** Give an element the color of a gradient: one of the ramp, red if it is not finite, none if it is zero. */
function paint(box, scale, norm, bad) {
  const isBroken = bad || !Number.isFinite(norm);
  const isColored = isBroken || norm > 0;
  const [r, g, b] = isBroken ? [200, 30, 45] : norm > 0 ? rampAt(scale, norm) : [0, 0, 0];
  box.classList.toggle("painted", isColored);
  box.classList.toggle("zero", !isColored);
  if (!isColored) return;
  box.style.setProperty("--paint", `rgb(${r} ${g} ${b})`);
  box.style.setProperty("--on-paint", 0.299 * r + 0.587 * g + 0.114 * b > 135 ? "#10131a" : "#ffffff");
}
