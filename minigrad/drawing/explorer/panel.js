// The texts on a step, a vertex or a group: elements for the panel or for a card.

/** The description of a step, in words and numbers. */
function explain({ phase, vertex }, graph) {
  if (phase === "whole") return overview(graph);
  return phase === "forward" ? explainForward(vertex) : explainBackward(vertex, graph);
}

function overview({ tape, isRecorded }) {
  const leaves = tape.filter((vertex) => !vertex.inputs.length).length;
  const hasNoGradients = !isRecorded && !tape.some((vertex) => vertex.gradient);
  return [
    element("h3", "", "The whole graph"),
    paragraph(`${counted(tape.length, "node", "nodes")}, including ${counted(leaves, "leaf", "leaves")}.`),
    paragraph("Press → or play to step along the tape, forwards and then backwards."),
    isRecorded ? paragraph("The backward pass was recorded: its nodes follow those of the forward pass.") : null,
    hasNoGradients ? element("p", "missing", "No gradients are known here: steps backwards show only the rules.") : null,
  ];
}

function counted(n, singular, plural) {
  return `${n.toLocaleString("en")} ${n === 1 ? singular : plural}`;
}

function explainForward(vertex) {
  const phase = vertex.phase === "forward" ? "forward" : "recorded backward pass,";
  const constants = vertex.inputs.filter((edge) => edge.kind === "constant").map((edge) => edge.source);
  const origin = vertex.kind === "parameter" ? " is a parameter." : " is a leaf: it was not computed.";
  return [
    element("h3", "", element("span", "phase", phase), ` node ${vertex.place}`),
    vertex.inputs.length ? equation(vertex) : paragraph(bdi(nameOf(vertex), "gradient"), origin),
    statistics("value", vertex.values),
    constants.length ? paragraph("Constants: ", ...list(constants.map((other) => bdi(nameOf(other))))) : null,
    ...warnings(vertex),
  ];
}

function explainBackward(vertex, graph) {
  const contributions = contributionsOf(vertex);
  const isLeaf = !vertex.inputs.length;
  const parts = [
    element("h3", "", element("span", "phase", "backward"), ` node ${vertex.place}`),
    isLeaf ? null : equation(vertex),
    element("p", "adjoint", gradientOf(vertex, graph), completion(vertex), isLeaf ? ": it is the leaf's .grad." : "."),
    statistics("", vertex.gradient),
  ];
  if (contributions.length) {
    const v = element("i", "", "v");
    parts.push(paragraph("From ", v, " = ", gradientOf(vertex, graph), ", each operand gets a contribution:"));
    parts.push(element("div", "contributions", ...contributions.map((edge) => contribution(edge, vertex, graph))));
  } else if (!isLeaf) {
    parts.push(element("p", "missing", "No gradient passes through this node."));
  }
  return [...parts, ...warnings(vertex)];
}

/** That the gradient of a vertex is complete, and of how many contributions it is the sum. */
function completion(vertex) {
  const { total } = arrivals(vertex, vertex.place);
  if (total === 0) return " is where the backward pass starts";
  return total === 1 ? " is complete: it has a single contribution" : ` is complete: the sum of ${total} contributions`;
}

/** The formula of a vertex; its call if the formula is abbreviated. */
function equation(vertex) {
  const formula = vertex.formula.replace(/^%\d+ = /, "");
  const isComplete = formula && !formula.includes("…");
  return element("p", "equation", bdi(nameOf(vertex)), " = ", bdi(isComplete ? formula : vertex.call));
}

function paragraph(...content) {
  return element("p", "", ...content);
}

function contribution(edge, vertex, graph) {
  const { total, arrived } = arrivals(edge.source, vertex.place);
  const norm = edge.contribution == null ? null : element("span", "norm", "‖·‖ = ", formatNumber(edge.contribution));
  const progress = total === 1 ? "the only contribution" : `contribution ${arrived} of ${total}`;
  const warning = edge.arises ? element("b", "broken", `, where ${edge.arises} arises`) : null;
  return element(
    "div",
    "contribution",
    element("span", "to", gradientOf(edge.source, graph), arrived > 1 ? " += " : " = "),
    bdi(edge.formula || "contribution", "derivative"),
    norm,
    element("span", "progress", progress, warning),
  );
}

function gradientOf(vertex, { outputs }) {
  const output = outputs.length === 1 && outputs[0].label;
  return element("span", "gradient", "d", output ? bdi(output) : "l", "/d", bdi(nameOf(vertex)));
}

function statistics(title, numbers) {
  if (!numbers) return null;
  const { norm, mean, std, low, high, nonfinite } = numbers;
  const roundedMean = Math.abs(mean) < 1e-12 * std ? 0 : mean; // a smaller mean is a rounding error
  const range = `from ${formatNumber(low)} to ${formatNumber(high)}`;
  const spread =
    low === high ? `all ${formatNumber(low)}` : `mean ${formatNumber(roundedMean)} ± ${formatNumber(std)}, ${range}`;
  return element(
    "p",
    "statistics",
    title ? `${title}: ` : "",
    `norm ${formatNumber(norm)}, ${spread}`,
    nonfinite ? element("b", "broken", `, ${nonfinite} not finite`) : null,
  );
}

function warnings(vertex) {
  return [
    vertex.arises ? element("p", "broken", `${vertex.arises} arises here: all operands are finite.`) : null,
    vertex.verdict ? element("p", vertex.verdict.ok ? "right" : "wrong", vertex.verdict.message) : null,
  ];
}

function list(parts) {
  return parts.flatMap((part, k) => (k ? [", ", part] : [part]));
}
