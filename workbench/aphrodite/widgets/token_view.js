// The tokens of one sequence: shaded, walked over with mouse or arrow keys, with what else could have stood there.
// Text comes from a model: it is only ever set as text, never as markup.

const SHADES = ["probability", "entropy", "none"];

const STYLE = `
.aphrodite-view { color: var(--jp-content-font-color1, var(--vscode-editor-foreground, inherit));
  font-size: var(--jp-content-font-size1, inherit); line-height: 1.7; }
.aphrodite-view .shades { display: flex; gap: .4em; align-items: center; margin-bottom: .3em; font-size: .8em; }
.aphrodite-view .shades[hidden] { display: none; }
.aphrodite-view .shades button { all: unset; cursor: pointer; padding: .05em .7em; border-radius: 1em; opacity: .65;
  border: 1px solid transparent; }
.aphrodite-view .shades button[aria-checked=true] { opacity: 1; border-color: currentColor; }
.aphrodite-view .shades button:focus-visible { outline: 2px solid var(--jp-brand-color1, Highlight); }
.aphrodite-view .text { white-space: pre-wrap; overflow-wrap: anywhere; }
.aphrodite-view .token { border-radius: .2em; cursor: pointer; }
.aphrodite-view .token[data-sign]::before { content: attr(data-sign); opacity: .45; font-size: .8em; }
.aphrodite-view[data-shade=probability] .token { background: rgba(255, 152, 0, var(--probability)); }
.aphrodite-view[data-shade=entropy] .token { background: rgba(84, 120, 255, var(--entropy)); }
.aphrodite-view .token:hover, .aphrodite-view .token:focus { outline: 1px solid currentColor; }
.aphrodite-view .token[aria-pressed=true] { outline: 2px solid var(--jp-brand-color1, Highlight); }
.aphrodite-view .facts { opacity: .6; font-size: .85em; margin-top: .3em; }
.aphrodite-view .popup { position: fixed; inset: auto; margin: 0; padding: .5em .8em; max-width: 26em; box-sizing: border-box;
  pointer-events: none; font-size: .85em; line-height: 1.5; border-radius: .4em; box-shadow: 0 2px 8px rgba(0, 0, 0, .3);
  color: var(--jp-ui-font-color1, var(--vscode-editorHoverWidget-foreground, CanvasText));
  background: var(--jp-layout-color1, var(--vscode-editorHoverWidget-background, Canvas));
  border: 1px solid var(--jp-border-color1, var(--vscode-editorHoverWidget-border, GrayText)); }
.aphrodite-view .popup .about { opacity: .75; margin-bottom: .2em; }
.aphrodite-view .popup .row { display: grid; grid-template-columns: minmax(0, 1fr) 7em 4.2em; gap: .6em; align-items: center; }
.aphrodite-view .popup .name { font-family: var(--jp-code-font-family, monospace); white-space: pre; overflow: hidden;
  text-overflow: ellipsis; }
.aphrodite-view .popup .drawn .name { font-weight: bold; }
.aphrodite-view .popup .bar { height: .6em; border-radius: .2em; background: rgba(128, 128, 128, .2); }
.aphrodite-view .popup .bar div { height: 100%; border-radius: .2em; background: rgb(255, 152, 0); min-width: 1px; }
.aphrodite-view .popup .share { text-align: right; font-variant-numeric: tabular-nums; }
`;

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function percent(probability) {
  return probability > 0 && probability < 0.0005 ? "<0.1 %" : `${(100 * probability).toFixed(1)} %`;
}

function about(token) {
  const entropy = token.entropy === null ? "" : `, entropy ${token.entropy.toFixed(2)} nats`;
  return `rank ${token.rank}${entropy}, id ${token.id}`;
}

function tokenElement(token, place) {
  const made = element("span", "token", token.text);
  made.dataset.place = place;
  made.tabIndex = place === 0 ? 0 : -1;
  made.setAttribute("role", "button");
  made.setAttribute("aria-label", `${token.name}, ${percent(token.probability)}, ${about(token)}`);
  if (token.sign) made.dataset.sign = token.sign;
  made.style.setProperty("--probability", token.opacity[0]);
  made.style.setProperty("--entropy", token.opacity[1]);
  return made;
}

function candidateRow([name, probability, isDrawn]) {
  const row = element("div", isDrawn ? "row drawn" : "row");
  const bar = element("div", "bar");
  const length = element("div", "");
  length.style.width = `${100 * probability}%`;
  bar.append(length);
  row.append(element("span", "name", name), bar, element("span", "share", percent(probability)));
  return row;
}

// The popup lies in the browser's top layer where there is one: a notebook's output would cut it off.
function popup() {
  const made = element("div", "popup");
  made.setAttribute("role", "tooltip");
  made.hidden = true;
  if (made.showPopover) made.popover = "manual";

  let anchor = null;

  function place() {
    const at = anchor.getClientRects()[0] ?? anchor.getBoundingClientRect();
    const size = made.getBoundingClientRect();
    const below = at.bottom + 4 + size.height < window.innerHeight;
    made.style.left = `${Math.max(4, Math.min(at.left, window.innerWidth - size.width - 4))}px`;
    made.style.top = `${below ? at.bottom + 4 : Math.max(4, at.top - size.height - 4)}px`;
  }

  return {
    element: made,
    show(token, at) {
      anchor = at;
      made.replaceChildren(element("div", "about", about(token)), ...token.others.map(candidateRow));
      made.hidden = false;
      if (made.popover && !made.matches(":popover-open")) made.showPopover();
      place();
    },
    follow() {
      if (!made.hidden) place();
    },
    hide() {
      if (made.popover && !made.hidden && made.isConnected) made.hidePopover();
      made.hidden = true;
    },
  };
}

function shadeSwitch(model) {
  const bar = element("div", "shades");
  bar.setAttribute("role", "radiogroup");
  bar.setAttribute("aria-label", "shade tokens by");
  const choose = (shade) => { model.set("shade", shade); model.save_changes(); };
  for (const shade of SHADES) {
    const button = element("button", "", shade);
    button.type = "button";
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => choose(shade));
    bar.append(button);
  }
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (SHADES.indexOf(model.get("shade")) + step + SHADES.length) % SHADES.length;
    choose(SHADES[next]);
    bar.children[next].focus();
  });
  return bar;
}

function render({ model, el }) {
  const root = element("div", "aphrodite-view");
  root.setAttribute("data-lm-suppress-shortcuts", "true"); // arrow keys are ours here, not the notebook's
  const style = element("style", "", STYLE);
  const shades = shadeSwitch(model);
  const text = element("div", "text");
  const facts = element("div", "facts");
  const shown = popup();
  root.append(style, shades, text, facts, shown.element);
  el.append(root);

  const tokenAt = (target) => target.closest?.(".token");
  const show = (target) => shown.show(model.get("tokens")[Number(target.dataset.place)], target);

  function fill() {
    shown.hide();
    text.replaceChildren(...model.get("tokens").map(tokenElement), document.createTextNode(model.get("rest")));
    facts.textContent = model.get("facts");
    shades.hidden = model.get("tokens").length === 0;
    select();
  }

  function shade() {
    root.dataset.shade = model.get("shade");
    for (const [place, button] of [...shades.children].entries()) {
      const isChosen = SHADES[place] === model.get("shade");
      button.setAttribute("aria-checked", String(isChosen));
      button.tabIndex = isChosen ? 0 : -1;
    }
  }

  function select() {
    const selected = model.get("selected");
    for (const token of text.querySelectorAll("[aria-pressed]")) token.removeAttribute("aria-pressed");
    if (selected !== null) text.children[selected]?.setAttribute("aria-pressed", "true");
  }

  function choose(target) {
    const place = Number(target.dataset.place);
    model.set("selected", model.get("selected") === place ? null : place);
    model.save_changes();
  }

  function walk(target) {
    if (!target) return;
    for (const token of text.querySelectorAll("[tabindex='0']")) token.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }

  function pressed(event) {
    const target = tokenAt(event.target);
    if (!target) return;
    const moves = {
      ArrowRight: () => walk(target.nextElementSibling),
      ArrowLeft: () => walk(target.previousElementSibling),
      Home: () => walk(text.firstElementChild),
      End: () => walk(text.lastElementChild),
      Escape: () => shown.hide(),
      Enter: () => choose(target),
      " ": () => choose(target),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    moves[event.key]();
  }

  text.addEventListener("pointerover", (event) => tokenAt(event.target) && show(tokenAt(event.target)));
  text.addEventListener("pointerleave", () => shown.hide());
  text.addEventListener("focusin", (event) => tokenAt(event.target) && show(tokenAt(event.target)));
  text.addEventListener("focusout", () => shown.hide());
  text.addEventListener("click", (event) => tokenAt(event.target) && choose(tokenAt(event.target)));
  text.addEventListener("keydown", pressed);
  window.addEventListener("scroll", shown.follow, true);

  const changes = { "change:tokens": fill, "change:rest": fill, "change:shade": shade, "change:selected": select };
  for (const [name, react] of Object.entries(changes)) model.on(name, react);
  fill();
  shade();
  return () => {
    for (const [name, react] of Object.entries(changes)) model.off(name, react);
    window.removeEventListener("scroll", shown.follow, true);
    shown.hide();
  };
}

export default { render };
