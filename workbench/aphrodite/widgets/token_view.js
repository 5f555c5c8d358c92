// The tokens of one sequence, and below it what was branched off from them. sequence.js comes before.

const STYLE = `
.aphrodite-view .branch { margin-top: .7em; padding-left: .8em; border-left: 3px solid rgba(128, 128, 128, .45); }
.aphrodite-view .branch .origin { opacity: .75; font-size: .85em; }
.aphrodite-view .branch .origin b { font-family: var(--jp-code-font-family, monospace); white-space: pre; }
`;

function origin(branch, number) {
  const made = element("div", "origin", `${number} · `);
  const from = branch.of === 0 ? "" : ` of ${branch.of}`;
  made.append(`from token ${branch.at}${from} on: `, element("b", "", branch.label));
  return made;
}

function render({ model, el }) {
  const root = element("div", "aphrodite-view");
  root.setAttribute("data-lm-suppress-shortcuts", "true"); // arrow keys are ours here, not the notebook's
  const style = element("style", "", SEQUENCE_STYLE + STYLE);
  const shades = shadeSwitch(model);
  const text = element("div", "text");
  const facts = element("div", "facts");
  const branches = element("div", "branches");
  const shown = popup();
  root.append(style, shades, text, facts, branches, shown.element);
  el.append(root);

  function fill() {
    shown.close();
    fillText(text, model.get("sequence"));
    facts.textContent = model.get("sequence").facts;
    shades.hidden = model.get("sequence").tokens.length === 0;
    select();
  }

  function shade() {
    markShade(root, shades, model.get("shade"));
  }

  function select() {
    const selected = model.get("selected");
    for (const token of text.querySelectorAll("[aria-pressed]")) token.removeAttribute("aria-pressed");
    const place = selected - model.get("sequence").first;
    if (selected !== null) text.querySelectorAll(".token")[place]?.setAttribute("aria-pressed", "true");
  }

  function opened(place, isOpen) {
    const position = model.get("sequence").first + place;
    model.set("selected", isOpen ?? model.get("selected") !== position ? position : null);
    model.save_changes();
  }

  const asking = (of, sequence) => () => model.get("can_branch")
    ? (place, token_id) => model.send({ kind: "branch", of, at: sequence().first + place, token_id })
    : null;

  function branchElement(branch, place) {
    const made = element("section", "branch");
    made.setAttribute("aria-label", `branch ${place + 1}`);
    const body = element("div", "text");
    fillText(body, branch);
    wire(body, shown, { tokens: () => branch.tokens, ask: asking(place + 1, () => branch), opened: () => {} });
    made.append(origin(branch, place + 1), body, noteOf(branch));
    made.drawnFrom = JSON.stringify(branch);
    return made;
  }

  // Only what has changed is made anew: focus stays where it is.
  function grow() {
    const listed = model.get("branched");
    for (const [place, branch] of listed.entries()) {
      const old = branches.children[place];
      if (old?.drawnFrom === JSON.stringify(branch)) continue;
      const made = branchElement(branch, place);
      if (old) old.replaceWith(made);
      else branches.append(made);
    }
    while (branches.children.length > listed.length) branches.lastChild.remove();
  }

  const own = () => model.get("sequence");
  wire(text, shown, { tokens: () => own().tokens, ask: asking(0, own), opened });
  window.addEventListener("scroll", shown.follow, true);

  const changes = {
    "change:sequence": fill, "change:shade": shade, "change:selected": select, "change:branched": grow,
  };
  for (const [name, react] of Object.entries(changes)) model.on(name, react);
  fill();
  shade();
  grow();
  return () => {
    for (const [name, react] of Object.entries(changes)) model.off(name, react);
    window.removeEventListener("scroll", shown.follow, true);
    shown.leave();
  };
}

export default { render };
