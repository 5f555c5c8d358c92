// A tree of branches: position runs to the right, a line a sequence, from where it leaves to its end. A click on a line
// shows its text; a click on a token of that writes on from there. sequence.js comes before.

const STYLE = `
.aphrodite-view .tree { max-height: 22em; overflow: auto; margin-bottom: .6em; }
.aphrodite-view .limb { display: grid; grid-template-columns: 15em minmax(0, 1fr); gap: 1em; align-items: center; height: 2em;
  cursor: pointer; border-radius: .3em; font-size: .9em; line-height: 2em; }
.aphrodite-view .limb:focus { outline: 2px solid var(--jp-brand-color1, Highlight); outline-offset: -2px; }
.aphrodite-view .limb:hover .words, .aphrodite-view .limb[aria-selected=true] .words { opacity: 1; }
.aphrodite-view .limb[aria-selected=true] { background: rgba(128, 128, 128, .16); }
.aphrodite-view .limb[aria-selected=true] .words::before { content: "▸ "; }
.aphrodite-view .track { position: relative; height: 100%; margin: 0 .6em; }
.aphrodite-view .track div { position: absolute; box-sizing: border-box; }
.aphrodite-view .line { top: calc(50% - .1em); height: .2em; border-radius: .1em; background: rgb(63, 157, 207); min-width: .4em; }
.aphrodite-view .limb[aria-selected=true] .line { top: calc(50% - .2em); height: .4em; }
.aphrodite-view .joint { bottom: 50%; width: .6em; border-left: .15em solid rgba(63, 157, 207, .7); }
.aphrodite-view .joint::before { content: ""; position: absolute; top: -.25em; left: -.33em; width: .5em; height: .5em;
  border-radius: 50%; background: rgb(63, 157, 207); }
.aphrodite-view .words { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; opacity: .8; }
.aphrodite-view .words b { font-family: var(--jp-code-font-family, monospace); white-space: pre; margin-right: .6em; }
`;

function part(className, style) {
  const made = element("div", className);
  Object.assign(made.style, style);
  return made;
}

function track(limb, longest) {
  const made = element("div", "track");
  const at = `${(100 * limb.at) / longest}%`;
  if (limb.level) made.append(part("joint", { left: at, height: `${2 * limb.up}em` }));
  made.append(part("line", { left: at, width: `${(100 * (limb.length - limb.at)) / longest}%` }));
  return made;
}

function words(limb) {
  const made = element("div", "words");
  if (limb.level) made.append(element("b", "", limb.label));
  made.append(limb.problem || limb.told);
  return made;
}

function limbElement(limb, longest) {
  const made = element("div", "limb");
  const from = limb.level ? `from token ${limb.at} with ${limb.label}: ` : "";
  made.setAttribute("role", "treeitem");
  made.setAttribute("aria-level", limb.level + 1);
  made.setAttribute("aria-label", from + (limb.problem || limb.told));
  made.dataset.place = limb.place;
  made.append(track(limb, longest), words(limb));
  return made;
}

function render({ model, el }) {
  const root = element("div", "aphrodite-view");
  root.setAttribute("data-lm-suppress-shortcuts", "true"); // arrow keys are ours here, not the notebook's
  const style = element("style", "", SEQUENCE_STYLE + STYLE);
  const shades = shadeSwitch(model);
  const tree = element("div", "tree");
  tree.setAttribute("role", "tree");
  tree.setAttribute("aria-label", "branches");
  const panel = element("section", "panel");
  const shown = popup();
  root.append(style, tree, shades, panel, shown.element);
  el.append(root);

  const all = () => [...tree.children];
  const limbs = () => model.get("limbs");
  const chosen = () => limbs().find((limb) => limb.place === model.get("chosen")) ?? limbs()[0];
  let drawn = ""; // the text that the panel shows, so that it is made anew only when it is another

  function grow() {
    const focused = all().find((each) => each === root.getRootNode().activeElement)?.dataset.place;
    const longest = Math.max(1, ...limbs().map((limb) => limb.length));
    tree.replaceChildren(...limbs().map((limb) => limbElement(limb, longest)));
    choose();
    if (focused !== undefined) all().find((each) => each.dataset.place === focused)?.focus();
  }

  function choose() {
    const limb = chosen();
    for (const each of all()) {
      const isChosen = Number(each.dataset.place) === limb.place;
      each.setAttribute("aria-selected", String(isChosen));
      each.tabIndex = isChosen ? 0 : -1;
    }
    show(limb);
  }

  function show(limb) {
    if (JSON.stringify(limb) === drawn) return;
    drawn = JSON.stringify(limb);
    shown.close();
    const text = element("div", "text");
    fillText(text, limb);
    const ask = (place, token_id) => model.send({ kind: "branch", of: limb.place, at: limb.first + place, token_id });
    wire(text, shown, { tokens: () => limb.tokens, ask: () => (model.get("can_branch") ? ask : null), opened: () => {} });
    panel.setAttribute("aria-label", limb.level ? `branch ${limb.place}` : "the first sequence");
    panel.replaceChildren(text, noteOf(limb));
    shades.hidden = limb.tokens.length === 0;
  }

  function pick(target) {
    if (!target) return;
    model.set("chosen", Number(target.dataset.place));
    model.save_changes();
    choose();
    target.focus();
  }

  tree.addEventListener("click", (event) => pick(event.target.closest(".limb")));
  tree.addEventListener("keydown", (event) => {
    const place = all().indexOf(event.target.closest(".limb"));
    const level = limbs()[place].level;
    const parent = () => all().slice(0, place).reverse().find((_, back) => limbs()[place - 1 - back].level < level);
    const child = () => (limbs()[place + 1]?.level > level ? all()[place + 1] : null);
    const moves = {
      ArrowDown: () => pick(all()[place + 1]),
      ArrowUp: () => pick(all()[place - 1]),
      ArrowLeft: () => pick(parent()),
      ArrowRight: () => pick(child()),
      Home: () => pick(all()[0]),
      End: () => pick(all().at(-1)),
      Enter: () => panel.querySelector(".token")?.focus(),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    moves[event.key]();
  });
  window.addEventListener("scroll", shown.follow, true);

  const shade = () => markShade(root, shades, model.get("shade"));
  const changes = { "change:limbs": grow, "change:chosen": choose, "change:shade": shade };
  for (const [name, react] of Object.entries(changes)) model.on(name, react);
  grow();
  shade();
  return () => {
    for (const [name, react] of Object.entries(changes)) model.off(name, react);
    window.removeEventListener("scroll", shown.follow, true);
    shown.leave();
  };
}

export default { render };
