// The state of the page, and what its buttons and keys do.

const graph = readGraph(JSON.parse(byId("data").textContent));
const last = graph.tape.length * (graph.isRecorded ? 1 : 2);
const turn = graph.isRecorded ? graph.tape.filter((vertex) => vertex.phase === "forward").length : graph.tape.length;

const state = { step: 0, timer: null, derivatives: false, matches: [], at: -1 };
const view = new View(graph, { choose, showCard, showEdgeCard });
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
  showCard(null);
  view.draw(fixed);
  refresh();
}

/** Go to the step of a vertex, in the current phase. */
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

/** Update everything that depends on the step, the colors or the search. */
function refresh() {
  const step = stepAt(graph.tape, state.step);
  const { phase, vertex } = step;
  tapeList.show(vertex, phase === "backward");
  byId("rule").replaceChildren(...explain(step, graph).filter((part) => part !== null));
  if (vertex && shownFor(vertex) !== vertex) byId("rule").append(insideNote(vertex));
  byId("step").value = state.step;
  const text = vertex
    ? `${vertex.phase === "backward" ? "recorded" : phase}, node ${vertex.place} of ${graph.tape.length}`
    : "whole graph";
  byId("where").textContent = text;
  byId("step").setAttribute("aria-valuetext", vertex ? `${text}: ${nameOf(vertex)}` : text);
  document.body.dataset.phase = phase;
  highlight(step);
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
  const query = text.trim().toLowerCase();
  const isMatch = (vertex) =>
    [nameOf(vertex), vertex.name, vertex.operation, vertex.call, vertex.scope, vertex.kind].some((part) =>
      part?.toLowerCase().includes(query),
    );
  state.matches = query ? graph.vertices.filter(isMatch) : [];
  state.at = -1;
  byId("found").textContent = query ? (state.matches.length ? `${state.matches.length} found` : "nothing found") : "";
  highlight(stepAt(graph.tape, state.step));
}

function nextFound(by) {
  const { matches } = state;
  if (!matches.length) return;
  state.at = (state.at + by + matches.length) % matches.length;
  const item = matches[state.at];
  byId("found").textContent = `${state.at + 1} of ${matches.length}`;
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
  if (!level.length) return showMessage("Everything is unfolded.");
  const cost = costOf(graph.root, level);
  if (cost > LIMIT) return showMessage(`That would show ${cost.toLocaleString("en")} boxes: unfold single scopes.`);
  for (const group of level) group.open = true;
  redraw();
  return view.fit(FAR);
}

function foldLevel() {
  const open = graph.groups.filter((group) => group.open && shownFor(group) === group);
  const depth = Math.max(0, ...open.map(depthOf));
  if (!depth) return showMessage("Everything is folded.");
  for (const group of open) if (depthOf(group) === depth) group.open = false;
  redraw();
  return view.fit(FAR);
}

let messageTimer = null;

function showMessage(text) {
  byId("found").textContent = text;
  clearTimeout(messageTimer);
  messageTimer = setTimeout(() => (byId("found").textContent = ""), 4000);
}

start();
