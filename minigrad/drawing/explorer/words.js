// What the page says of a step, a vertex or a group: elements to be shown in the panel or on a card.

/** What this step does, in words and numbers. */
function explain({ phase, vertex }, graph) {
  if (phase === "whole") return overview(graph);
  return phase === "forward" ? forwards(vertex) : backwards(vertex, graph);
}

function overview({ tape, isRecorded }) {
  const leaves = tape.filter((vertex) => !vertex.inputs.length).length;
  const isBare = !isRecorded && !tape.some((vertex) => vertex.gradient);
  return [
    element("h3", "", "The whole graph"),
    paragraph(`${tape.length.toLocaleString("en")} nodes, ${leaves.toLocaleString("en")} of them leaves. `),
    paragraph("Press → or play to walk along the tape, there and back."),
    isRecorded ? paragraph("The backward pass was recorded: its nodes follow those of the forward pass.") : null,
    isBare ? element("p", "missing", "No gradients are known here: the steps backwards show the rules only.") : null,
  ];
}

function forwards(vertex) {
  const phase = vertex.phase === "forward" ? "forward" : "recorded backward pass,";
  const constants = vertex.inputs.filter((edge) => edge.kind === "constant").map((edge) => edge.source);
  const origin = vertex.kind === "parameter" ? " is a parameter." : " is a leaf: no operation made it.";
  return [
    element("h3", "", element("span", "phase", phase), ` node ${vertex.place}`),
    vertex.inputs.length ? equation(vertex) : paragraph(bdi(nameOf(vertex), "gradient"), origin),
    statistics("value", vertex.values),
    constants.length ? paragraph("Constants: ", ...list(constants.map((other) => bdi(nameOf(other))))) : null,
    ...warnings(vertex),
  ];
}

function backwards(vertex, graph) {
  const contributions = contributionsOf(vertex);
  const isLeaf = !vertex.inputs.length;
  const told = [
    element("h3", "", element("span", "phase", "backward"), ` node ${vertex.place}`),
    isLeaf ? null : equation(vertex),
    element("p", "adjoint", gradientOf(vertex, graph), completed(vertex), isLeaf ? ": this is the leaf's .grad." : "."),
    statistics("", vertex.gradient),
  ];
  if (contributions.length) {
    const v = element("i", "", "v");
    told.push(paragraph(v, " = ", gradientOf(vertex, graph), " is read, and each operand gets its contribution:"));
    told.push(element("div", "contributions", ...contributions.map((edge) => contribution(edge, vertex, graph))));
  } else if (!isLeaf) {
    told.push(element("p", "missing", "No gradient passes through this node."));
  }
  return [...told, ...warnings(vertex)];
}

function completed(vertex) {
  const { of } = arrived(vertex, vertex.place);
  if (of === 0) return " is where the backward pass begins";
  return of === 1 ? " is complete: its only contribution has come" : ` is complete: the sum of its ${of} contributions`;
}

/** How a vertex is computed: its formula, or the call where the formula leaves something out. */
function equation(vertex) {
  const formula = vertex.formula.replace(/^%\d+ = /, "");
  const isWhole = formula && !formula.includes("…");
  return element("p", "equation", bdi(nameOf(vertex)), " = ", bdi(isWhole ? formula : vertex.call));
}

function paragraph(...content) {
  return element("p", "", ...content);
}

function contribution(edge, vertex, graph) {
  const { of, come } = arrived(edge.source, vertex.place);
  const norm = edge.contribution == null ? null : element("span", "norm", "‖·‖ = ", brief(edge.contribution));
  const left = of - come;
  const born = edge.born ? element("b", "broken", `, where ${edge.born} is born`) : null;
  return element(
    "div",
    "contribution",
    element("span", "to", gradientOf(edge.source, graph), come > 1 ? " += " : " = "),
    bdi(edge.formula || "contribution", "derivative"),
    norm,
    element(
      "span",
      "come",
      of === 1 ? "its only contribution" : left ? `${come} of ${of} contributions have come` : `the last of ${of} contributions`,
      born,
    ),
  );
}

function gradientOf(vertex, { outputs }) {
  const output = outputs.length === 1 && outputs[0].label;
  return element("span", "gradient", "d", output ? bdi(output) : "l", "/d", bdi(nameOf(vertex)));
}

function statistics(title, numbers) {
  if (!numbers) return null;
  const { norm, mean, std, low, high, bad } = numbers;
  const middle = Math.abs(mean) < 1e-12 * std ? 0 : mean; // a rounding error
  const told =
    low === high ? `all ${brief(low)}` : `mean ${brief(middle)} ± ${brief(std)}, from ${brief(low)} to ${brief(high)}`;
  return element(
    "p",
    "statistics",
    title ? `${title}: ` : "",
    `norm ${brief(norm)}, ${told}`,
    bad ? element("b", "broken", `, ${bad} not finite`) : null,
  );
}

function warnings(vertex) {
  return [
    vertex.born ? element("p", "broken", `${vertex.born} is born here: what it is computed from is finite.`) : null,
    vertex.verdict ? element("p", vertex.verdict.ok ? "right" : "wrong", vertex.verdict.told) : null,
  ];
}

function list(parts) {
  return parts.flatMap((part, k) => (k ? [", ", part] : [part]));
}
