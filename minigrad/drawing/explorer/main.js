// Everything together: the state of the page, its buttons and keys.

const graph = readGraph(JSON.parse(byId("data").textContent));
const last = graph.tape.length * (graph.isRecorded ? 1 : 2);
const turn = graph.isRecorded ? graph.tape.filter((vertex) => vertex.phase === "forward").length : graph.tape.length;

const state = { step: 0, timer: null, derivatives: false, found: [], at: -1 };
const view = new View(graph, { choose, tell, tellEdge });
const tapeList = new TapeList(graph.tape, view.scale, go);

/** Fold or unfold a group; go to the line of a vertex. */
function choose(item) {
  if (!item.isGroup) return item.place ? go(item) : undefined;
  const hadFocus = document.activeElement?.dataset.key === item.key;
  item.open = !item.open;
  redraw(item);
  if (hadFocus) (view.boxes.get(item.open ? `open ${item.key}` : item.key)?.querySelector("[data-key]") ?? view.boxes.get(item.key))?.focus();
}

function redraw(fixed = null) {
  tell(null);
  view.draw(fixed);
  refresh();
}

/** To the step of a vertex, in the phase that the page is in. */
function go(vertex) {
  const isBackward = state.step > graph.tape.length;
  const k = graph.tape.indexOf(vertex);
  setStep(isBackward ? last - k : k + 1);
}

function setStep(step) {
  state.step = Math.max(0, Math.min(last, step));
  refresh();
  const { vertex } = stepAt(graph.tape, state.step);
  if (vertex) view.see(shownFor(vertex));
}

/** Bring everything that depends on the step, the colors or the search up to date. */
function refresh() {
  const step = stepAt(graph.tape, state.step);
  const { phase, vertex } = step;
  tapeList.show(vertex, phase === "backward");
  byId("rule").replaceChildren(...explain(step, graph).filter((part) => part !== null));
  if (vertex && shownFor(vertex) !== vertex) byId("rule").append(insideNote(vertex));
  byId("step").value = state.step;
  const told = vertex ? `${vertex.phase === "backward" ? "recorded" : phase}, line ${vertex.place} of ${graph.tape.length}` : "whole graph";
  byId("where").textContent = told;
  byId("step").setAttribute("aria-valuetext", vertex ? `${told}: ${nameOf(vertex)}` : told);
  document.body.dataset.phase = phase;
  mark(step);
}

function insideNote(vertex) {
  const group = shownFor(vertex);
  const button = element("button", "", "Unfold");
  button.addEventListener("click", () => {
    reveal(vertex);
    redraw(vertex);
    view.see(vertex);
  });
  return element("p", "inside", "This line is inside ", bdi(group.title), ", which is folded. ", button);
}

/** Classes and colors of boxes and arrows. */
function mark({ phase, vertex }) {
  const current = vertex && shownFor(vertex);
  const found = new Set(state.found.map(shownFor));
  for (const item of view.drawn.items) {
    const box = view.boxes.get(item.key);
    const place = item.first ?? item.place;
    const end = item.last ?? item.place;
    const isAhead = phase === "forward" && place > vertex.place;
    const hasCome = phase === "whole" || (phase === "backward" && end >= vertex.place);
    box.classList.toggle("current", item === current);
    box.classList.toggle("ahead", isAhead && item !== current);
    box.classList.toggle("found", found.has(item));
    box.classList.toggle("past", state.found.length > 0 && !found.has(item));
    const norm = normOf(item);
    box.classList.remove("painted", "zero");
    if (view.byGradient && hasCome && norm !== null && view.scale) paint(box, view.scale, norm, isBad(item));
    if (isBad(item)) box.classList.add("bad");
    if (item === current) box.setAttribute("aria-current", "step");
    else box.removeAttribute("aria-current");
  }
  markEdges(phase, vertex);
}

function markEdges(phase, vertex) {
  const labels = [];
  for (const edge of view.drawn.edges) {
    const { classList, style } = edge.element;
    const active = vertex ? edge.parts.filter((part) => part.target === vertex) : [];
    const isFlow = active.length > 0 && (phase === "forward" || active.some(isShare));
    const end = Math.max(...edge.parts.map((part) => part.target.place));
    classList.toggle("flow", isFlow);
    classList.toggle("ahead", phase === "forward" && end > vertex.place);
    const norm = edge.parts.reduce((most, part) => Math.max(most, Number(part.share ?? -1)), -1);
    const isPainted = view.byGradient && norm > 0 && view.scale && (phase === "whole" || (phase === "backward" && end >= vertex.place));
    classList.toggle("painted", isPainted);
    if (isPainted) paint(edge.element, view.scale, norm, edge.parts.some((part) => part.born));
    if (isFlow) edge.element.parentNode.append(edge.element);
    if ((isFlow && phase === "backward") || (state.derivatives && edge.parts.some((part) => part.formula))) {
      labels.push(label(edge, isFlow && phase === "backward" ? active : edge.parts, isFlow));
    }
  }
  byId("labels").replaceChildren(...labels);
  separate(labels);
}

function label(edge, parts, isFlow) {
  const shown = parts.slice(0, 2).flatMap((part) => [
    part.formula ? bdi(part.formula) : null,
    isFlow && part.share != null ? element("span", "norm", brief(part.share)) : null,
  ]);
  const made = element("div", isFlow ? "label flow" : "label", ...shown);
  const at = edge.line.getPointAtLength(edge.line.getTotalLength() * (isFlow ? 0.45 : 0.55));
  Object.assign(made, { at });
  return made;
}

/** Labels do not hide each other: what would is moved down. */
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

// Playing

function play(isOn = state.timer === null) {
  clearInterval(state.timer);
  state.timer = null;
  byId("rule").setAttribute("aria-live", isOn ? "off" : "polite");
  byId("play").classList.toggle("on", isOn);
  byId("play").setAttribute("aria-label", isOn ? "Pause" : "Play");
  if (!isOn) return;
  if (state.step === last) setStep(0);
  const pause = Math.min(1100, Math.max(60, 90_000 / (last || 1)));
  state.timer = setInterval(() => {
    setStep(state.step + 1);
    if (state.step === last) play(false);
  }, pause);
}

// Searching

function search(text) {
  const wanted = text.trim().toLowerCase();
  const fits = (vertex) => [nameOf(vertex), vertex.name, vertex.operation, vertex.call, vertex.scope, vertex.kind]
    .some((part) => part?.toLowerCase().includes(wanted));
  state.found = wanted ? graph.vertices.filter(fits) : [];
  state.at = -1;
  byId("found").textContent = wanted ? (state.found.length ? `${state.found.length} found` : "nothing found") : "";
  mark(stepAt(graph.tape, state.step));
}

function nextFound(by) {
  const { found } = state;
  if (!found.length) return;
  state.at = (state.at + by + found.length) % found.length;
  const item = found[state.at];
  byId("found").textContent = `${state.at + 1} of ${found.length}`;
  if (shownFor(item) !== item) {
    if (visible(graph.root).items.length > LIMIT / 2) foldAll();
    reveal(item);
    redraw();
  }
  if (item.place) go(item);
  view.see(item);
  view.boxes.get(item.key).classList.add("found");
}

// Folding levels

function foldAll() {
  for (const group of graph.groups) group.open = false;
}

function unfoldLevel() {
  const level = nextLevel(graph.root);
  if (!level.length) return say("Everything is unfolded.");
  const cost = costOf(graph.root, level);
  if (cost > LIMIT) return say(`That would show ${cost.toLocaleString("en")} boxes: unfold single scopes.`);
  for (const group of level) group.open = true;
  redraw();
  return view.fit(FAR);
}

function foldLevel() {
  const open = graph.groups.filter((group) => group.open && shownFor(group) === group);
  const depth = Math.max(0, ...open.map(depthOf));
  if (!depth) return say("Everything is folded.");
  for (const group of open) if (depthOf(group) === depth) group.open = false;
  redraw();
  return view.fit(FAR);
}

// What is told

let silence = null;

function say(text) {
  byId("found").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => (byId("found").textContent = ""), 4000);
}

/** The card of a vertex or group beside its box. */
function tell(item, box = null) {
  const tip = byId("tip");
  tip.hidden = !item;
  if (!item) return;
  tip.replaceChildren(...(item.isGroup ? groupCard(item) : vertexCard(item)).filter((part) => part !== null));
  show(tip, box.getBoundingClientRect());
}

function tellEdge(edge, event) {
  const tip = byId("tip");
  tip.hidden = false;
  const parts = edge.parts.slice(0, 6).map((part) => element("p", "",
    bdi(nameOf(part.source)), " → ", bdi(nameOf(part.target)),
    part.formula ? element("span", "", ": gets back ", bdi(part.formula, "derivative")) : null,
    part.share == null ? null : ` with norm ${brief(part.share)}`));
  const more = edge.parts.length - parts.length;
  tip.replaceChildren(...parts, more > 0 ? element("p", "", `and ${more} more`) : "");
  show(tip, new DOMRect(event.clientX, event.clientY, 0, 12));
}

function show(tip, { left, right, top, bottom }) {
  const { offsetWidth: w, offsetHeight: h } = tip;
  const isBelow = bottom + 8 + h < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(innerWidth - w - 8, (left + right - w) / 2))}px`;
  tip.style.top = `${isBelow ? bottom + 8 : Math.max(8, top - h - 8)}px`;
}

start();
