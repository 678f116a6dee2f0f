// Everything together: the state of the page, its buttons and keys.

const graph = readGraph(JSON.parse(byId("data").textContent));
const last = graph.tape.length * (graph.isRecorded ? 1 : 2);
const turn = graph.isRecorded ? graph.tape.filter((vertex) => vertex.phase === "forward").length : graph.tape.length;

const state = { step: 0, timer: null, derivatives: false, found: [], at: -1 };
const view = new View(graph, { choose, tell, tellEdge });
const tapeList = new TapeList(graph.tape, view.scale, go);

/** Fold or unfold a group; go to the node of a vertex. */
function choose(item) {
  if (!item.isGroup) return item.place ? go(item) : undefined;
  const hadFocus = document.activeElement?.dataset.key === item.key;
  item.open = !item.open;
  redraw(item);
  if (hadFocus) document.querySelector(`[data-key="${CSS.escape(item.key)}"]`).focus();
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
  const told = vertex
    ? `${vertex.phase === "backward" ? "recorded" : phase}, node ${vertex.place} of ${graph.tape.length}`
    : "whole graph";
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
  return element("p", "inside", "This node is inside ", bdi(group.title), ", which is folded. ", button);
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
  const fits = (vertex) =>
    [nameOf(vertex), vertex.name, vertex.operation, vertex.call, vertex.scope, vertex.kind].some((part) =>
      part?.toLowerCase().includes(wanted),
    );
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

let silence = null;

function say(text) {
  byId("found").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => (byId("found").textContent = ""), 4000);
}

start();
