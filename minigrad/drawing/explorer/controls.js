// Mouse, touch, keys and buttons.

const KEYS = {
  ArrowRight: () => setStep(state.step + 1),
  ArrowDown: () => setStep(state.step + 1),
  ArrowLeft: () => setStep(state.step - 1),
  ArrowUp: () => setStep(state.step - 1),
  Home: () => setStep(0),
  End: () => setStep(last),
  b: () => setStep(turn + 1),
  " ": () => play(),
  f: () => view.fit(),
  "+": () => view.zoom(1.25),
  "=": () => view.zoom(1.25),
  "-": () => view.zoom(0.8),
  u: unfoldLevel,
  o: foldLevel,
  c: () => toggleColor(),
  d: () => toggleDerivatives(),
  "/": () => byId("search").select(),
  "?": () => byId("guide").showModal(),
  Escape: () => {
    showCard(null);
    endSearch();
  },
};

const MOVES = { ArrowRight: [-80, 0], ArrowLeft: [80, 0], ArrowDown: [0, -80], ArrowUp: [0, 80] };

const BUTTONS = {
  fold: "o",
  unfold: "u",
  fit: "f",
  derivatives: "d",
  color: "c",
  help: "?",
  first: "Home",
  previous: "ArrowLeft",
  play: " ",
  next: "ArrowRight",
  turn: "b",
  last: "End",
};

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || byId("guide").open) return;
    if (target.id === "search") {
      if (key === "Enter") nextFound(event.shiftKey ? -1 : 1);
      if (key === "Escape") endSearch();
      return;
    }
    const isNative =
      (target.id === "step" && /^(Arrow|Home|End)/.test(key)) || (target.tagName === "BUTTON" && key === " ");
    if (isNative) return;
    const move = event.shiftKey && MOVES[key];
    const act = move ? () => view.move(...move) : KEYS[key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function listenToButtons() {
  for (const [id, key] of Object.entries(BUTTONS)) byId(id).addEventListener("click", () => KEYS[key]());
  byId("step").addEventListener("input", (event) => setStep(Number(event.target.value)));
  byId("search").addEventListener("input", (event) => search(event.target.value));
}

function toggleColor(isOn = !view.byGradient) {
  view.byGradient = isOn && Boolean(view.scale);
  byId("color").setAttribute("aria-pressed", String(view.byGradient));
  byId("legend").replaceChildren(...legend());
  if (isOn && !view.scale) showMessage("There are no gradients in this picture.");
  refresh();
}

function toggleDerivatives() {
  if (!graph.edges.some((edge) => edge.formula)) showMessage("There are no derivatives in this picture.");
  state.derivatives = !state.derivatives;
  byId("derivatives").setAttribute("aria-pressed", String(state.derivatives));
  refresh();
}

function endSearch() {
  byId("search").value = "";
  byId("search").blur();
  search("");
}

/** Drag to move, turn the wheel to zoom; two fingers do both. */
function listenToPointers() {
  const { canvas } = view;
  const fingers = new Map();
  const at = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const midpoint = () => {
    const [a, b = a] = fingers.values();
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) };
  };
  let dragged = 0;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button === 0) fingers.set(event.pointerId, at(event));
    dragged = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = midpoint();
    fingers.set(event.pointerId, at(event));
    const after = midpoint();
    dragged += Math.abs(after.x - before.x) + Math.abs(after.y - before.y);
    if (dragged < 4) return;
    canvas.setPointerCapture(event.pointerId);
    canvas.classList.add("dragging");
    view.move(after.x - before.x, after.y - before.y);
    if (before.distance && after.distance) view.zoom(after.distance / before.distance, after.x, after.y);
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, (event) => {
      fingers.delete(event.pointerId);
      canvas.classList.remove("dragging");
    });
  }
  // The end of a drag is not a click.
  canvas.addEventListener("click", (event) => dragged >= 4 && event.stopPropagation(), true);
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { x, y } = at(event);
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
      if (event.shiftKey) view.move(-(event.deltaX || event.deltaY) * lines, 0);
      else view.zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY * lines)) * 0.0022), x, y);
    },
    { passive: false },
  );
}

/** When printing, fit the whole graph to a page and list every node of the tape. */
function listenToPrinting() {
  let camera = null;
  addEventListener("beforeprint", () => {
    camera = view.camera;
    const { w, h } = graph.root;
    const scale = Math.min(1, 680 / w, 900 / h);
    view.camera = { x: 8, y: 8, scale };
    view.look();
    view.canvas.style.setProperty("--printed", `${h * scale + 48}px`);
    if (graph.tape.length <= 2000) tapeList.fill(true);
  });
  addEventListener("afterprint", () => {
    view.camera = camera;
    camera = null;
    view.look();
    tapeList.fill();
  });
}

function start() {
  const title = list(graph.outputs.map((vertex) => bdi(nameOf(vertex))));
  byId("title").append(...(title.length ? title : ["graph"]));
  document.title = `${byId("title").textContent} – minigrad`;
  byId("notes").append(...graph.notes.map((note) => element("li", "", bdi(note))));
  byId("step").max = last;
  byId("forward").style.flexGrow = turn;
  byId("backward").style.flexGrow = last - turn;
  listenToKeys();
  listenToButtons();
  listenToPointers();
  listenToPrinting();
  foldAtFirst(graph);
  noteFolding();
  view.draw();
  toggleColor(Boolean(view.scale) && !graph.shown.includes("verdicts"));
  new ResizeObserver(() => matchMedia("print").matches || view.fit(FAR)).observe(view.canvas);
}

/** Add a note on what was folded without a request. */
function noteFolding() {
  const parts = graph.groups.filter((group) => group.isPart).length;
  const folded = graph.groups.filter((group) => !group.open && shownFor(group) === group);
  if (!folded.length || (!parts && graph.groups.some((group) => group.cluster?.folded))) return; // it was requested
  const nodes = folded.reduce((sum, group) => sum + group.nodes, 0);
  const text = `${nodes.toLocaleString("en")} nodes are folded into ${folded.length} boxes`;
  byId("notes").append(
    element(
      "li",
      "",
      parts ? `${text}; nodes without scopes were grouped by their places on the tape.` : `${text}.`,
      " Click one, or press u, to unfold.",
    ),
  );
}

/** The meaning of the colors. */
function legend() {
  if (!view.byGradient) return [];
  const bar = element("span", "bar");
  bar.style.background = `linear-gradient(to right, ${RAMP.join(", ")})`;
  const { low, high, isCut } = view.scale;
  const parts = [
    element("span", "wide", "norm of the gradient"),
    element("span", "", `${isCut ? "≤ " : ""}${formatNumber(10 ** low)}`),
    bar,
    element("span", "", formatNumber(10 ** high)),
  ];
  if (graph.vertices.some((vertex) => normOf(vertex) === 0)) parts.push(element("span", "sample zero", "0"));
  if (graph.vertices.some(isBad)) parts.push(element("span", "sample broken-sample", "not finite"));
  return parts;
}
