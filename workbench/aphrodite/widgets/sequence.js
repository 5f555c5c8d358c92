// What the token view and the branch tree share: the tokens of a sequence, walked over with mouse or arrow keys, with
// what else could have stood there, and a menu that writes on from there with another token.
// Text comes from a model: it is only ever set as text, never as markup.

const SEQUENCE_STYLE = `
.aphrodite-view { color: var(--jp-content-font-color1, var(--vscode-editor-foreground, inherit));
  font-size: var(--jp-content-font-size1, inherit); line-height: 1.7; }
.aphrodite-view .shades { display: flex; gap: .4em; align-items: center; margin-bottom: .3em; font-size: .8em; }
.aphrodite-view .shades[hidden] { display: none; }
.aphrodite-view .shades button { all: unset; cursor: pointer; padding: .05em .7em; border-radius: 1em; opacity: .65;
  border: 1px solid transparent; }
.aphrodite-view .shades button[aria-checked=true] { opacity: 1; border-color: currentColor; }
.aphrodite-view .shades button:focus-visible { outline: 2px solid var(--jp-brand-color1, Highlight); }
.aphrodite-view .text { white-space: pre-wrap; overflow-wrap: anywhere; }
.aphrodite-view .kept { opacity: .6; text-decoration: underline dotted; text-underline-offset: .3em; }
.aphrodite-view .fork::before { content: "▸"; opacity: .8; padding: 0 .15em; }
.aphrodite-view .forced { font-weight: bold; }
.aphrodite-view .token { border-radius: .2em; cursor: pointer; }
.aphrodite-view .token[data-sign]::before { content: attr(data-sign); opacity: .45; font-size: .8em; }
.aphrodite-view[data-shade=probability] .token { background: rgba(255, 152, 0, var(--probability)); }
.aphrodite-view[data-shade=entropy] .token { background: rgba(84, 120, 255, var(--entropy)); }
.aphrodite-view .token:hover, .aphrodite-view .token:focus { outline: 1px solid currentColor; }
.aphrodite-view .token[aria-pressed=true], .aphrodite-view .token[aria-expanded=true] {
  outline: 2px solid var(--jp-brand-color1, Highlight); }
.aphrodite-view .facts { opacity: .7; font-size: .85em; margin-top: .3em; }
.aphrodite-view .problem { color: var(--jp-error-color1, var(--vscode-errorForeground, rgb(229, 57, 53)));
  font-size: .9em; }
.aphrodite-view .popup { position: fixed; inset: auto; margin: 0; padding: .5em .8em; max-width: 26em; box-sizing: border-box;
  pointer-events: none; font-size: .85em; line-height: 1.5; border-radius: .4em; box-shadow: 0 2px 8px rgba(0, 0, 0, .3);
  color: var(--jp-ui-font-color1, var(--vscode-editorHoverWidget-foreground, CanvasText));
  background: var(--jp-layout-color1, var(--vscode-editorHoverWidget-background, Canvas));
  border: 1px solid var(--jp-border-color1, var(--vscode-editorHoverWidget-border, GrayText)); }
.aphrodite-view .popup[role=menu] { pointer-events: auto; }
.aphrodite-view .popup .about { opacity: .75; margin-bottom: .2em; }
.aphrodite-view .popup .row { all: unset; display: grid; grid-template-columns: minmax(0, 1fr) 7em 4.2em; gap: .6em;
  align-items: center; box-sizing: border-box; width: 100%; padding: .05em .3em; border-radius: .25em; }
.aphrodite-view .popup button.row { cursor: pointer; }
.aphrodite-view .popup button.row:hover, .aphrodite-view .popup button.row:focus { outline: none;
  box-shadow: inset 0 0 0 1px currentColor; }
.aphrodite-view .popup button.row[aria-disabled=true] { cursor: default; }
.aphrodite-view .popup .name { font-family: var(--jp-code-font-family, monospace); white-space: pre; overflow: hidden;
  text-overflow: ellipsis; }
.aphrodite-view .popup .drawn .name { font-weight: bold; }
.aphrodite-view .popup .drawn .name::before { content: "● "; }
.aphrodite-view .popup .bar { height: .6em; border-radius: .2em; background: rgba(128, 128, 128, .2); }
.aphrodite-view .popup .bar div { height: 100%; border-radius: .2em; background: rgb(255, 152, 0); min-width: 1px; }
.aphrodite-view .popup .share { text-align: right; font-variant-numeric: tabular-nums; }
.aphrodite-view .popup .again { grid-template-columns: 1fr; border-top: 1px solid rgba(128, 128, 128, .4); border-radius: 0;
  margin-top: .2em; padding-top: .3em; }
`;
const SHADES = ["probability", "entropy", "none"];

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

function weights(token) {
  return token.both === null ? [] : [`model ${percent(token.both[0])}, drawn at ${percent(token.both[1])}`];
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

function candidateRow([name, probability, isDrawn], tag = "div") {
  const row = element(tag, isDrawn ? "row drawn" : "row");
  const bar = element("div", "bar");
  const length = element("div", "");
  length.style.width = `${100 * probability}%`;
  bar.append(length);
  row.append(element("span", "name", name), bar, element("span", "share", percent(probability)));
  return row;
}

function menuItem(made, label, choose) {
  made.type = "button";
  made.tabIndex = -1;
  made.setAttribute("role", "menuitem");
  made.setAttribute("aria-label", label);
  if (choose) made.addEventListener("click", choose);
  else made.setAttribute("aria-disabled", "true");
  return made;
}

// A tooltip while somebody hovers or walks; a menu once a token is chosen from which can be written on.
// It lies in the browser's top layer where there is one: a notebook's output would cut it off.
function popup() {
  const made = element("div", "popup");
  made.hidden = true;
  if (made.showPopover) made.popover = "manual";
  let anchor = null;
  let closed = null; // what a menu does when it closes; null while there is none

  function place() {
    const at = anchor.getClientRects()[0] ?? anchor.getBoundingClientRect();
    const size = made.getBoundingClientRect();
    const below = at.bottom + 4 + size.height < window.innerHeight;
    made.style.left = `${Math.max(4, Math.min(at.left, window.innerWidth - size.width - 4))}px`;
    made.style.top = `${below ? at.bottom + 4 : Math.max(4, at.top - size.height - 4)}px`;
  }

  function appear(role, at, parts) {
    anchor = at;
    made.setAttribute("role", role);
    made.replaceChildren(...parts);
    made.hidden = false;
    if (made.popover && !made.matches(":popover-open")) made.showPopover();
    place();
  }

  function disappear() {
    if (made.popover && !made.hidden && made.isConnected) made.hidePopover();
    made.hidden = true;
  }

  function head(token) {
    return [about(token), ...weights(token)].map((line) => element("div", "about", line));
  }

  function close() {
    const react = closed;
    closed = null;
    disappear();
    react?.();
  }

  function items(token, choose) {
    const rows = token.others.map((other) => menuItem(
      candidateRow(other, "button"),
      other[2] ? `${other[0]}, ${percent(other[1])}, was drawn` : `write on with ${other[0]}, ${percent(other[1])}`,
      other[2] ? null : () => { const asked = choose; close(); asked(other[3]); },
    ));
    const again = element("button", "row again", "another draw from here");
    return [...rows, menuItem(again, "another draw from here", () => { const asked = choose; close(); asked(null); })];
  }

  made.addEventListener("keydown", (event) => {
    const all = [...made.querySelectorAll("[role=menuitem]")];
    const now = all.indexOf(event.target);
    const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next !== undefined) all[(next + all.length) % all.length].focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const outside = (event) => {
    if (closed && !event.composedPath().some((each) => each === made || each === anchor)) close();
  };
  document.addEventListener("pointerdown", outside, true);

  return {
    element: made,
    isMenu: () => closed !== null,
    show(token, at) {
      if (!closed) appear("tooltip", at, [...head(token), ...token.others.map((other) => candidateRow(other))]);
    },
    open(token, at, choose, react) {
      if (closed) close();
      appear("menu", at, [...head(token), ...items(token, choose)]);
      closed = react;
      (made.querySelector("[role=menuitem]:not([aria-disabled])") ?? made).focus();
    },
    follow() {
      if (!made.hidden) place();
    },
    hide() {
      if (!closed) disappear();
    },
    close() {
      if (closed) close();
      else disappear();
    },
    leave() {
      document.removeEventListener("pointerdown", outside, true);
      closed = null;
      disappear();
    },
  };
}

// Makes the tokens of one text answer to mouse and keys.
//   tokens()            what is shown, in order
//   ask                 (place, token id or null for another draw) writes on from there; null where nothing can
//   opened(place, is)   a token was chosen (true), let go (false), or clicked where nothing can branch (null)
function wire(text, shown, { tokens, ask, opened }) {
  const all = () => [...text.querySelectorAll(".token")];
  const tokenAt = (target) => target.closest?.(".token");
  const about = (target) => tokens()[Number(target.dataset.place)];
  let isQuiet = false; // focus that comes back from a menu shows nothing

  function show(target) {
    if (target && !isQuiet) shown.show(about(target), target);
  }

  function closed(target) {
    target.removeAttribute("aria-expanded");
    isQuiet = true;
    target.focus();
    isQuiet = false;
  }

  function choose(target) {
    const place = Number(target.dataset.place);
    const askNow = ask();
    if (!askNow) return opened(place, null);
    if (target.getAttribute("aria-expanded") === "true") {
      shown.close();
      return opened(place, false);
    }
    shown.open(about(target), target, (id) => askNow(place, id), () => closed(target));
    target.setAttribute("aria-expanded", "true");
    opened(place, true);
  }

  function walk(target) {
    if (!target) return;
    for (const token of all()) token.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }

  function pressed(event) {
    const target = tokenAt(event.target);
    if (!target) return;
    const tokens = all();
    const place = tokens.indexOf(target);
    const moves = {
      ArrowRight: () => walk(tokens[place + 1]),
      ArrowLeft: () => walk(tokens[place - 1]),
      Home: () => walk(tokens[0]),
      End: () => walk(tokens.at(-1)),
      Escape: () => shown.close(),
      Enter: () => choose(target),
      " ": () => choose(target),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    moves[event.key]();
  }

  text.addEventListener("pointerover", (event) => show(tokenAt(event.target)));
  text.addEventListener("pointerleave", () => shown.hide());
  text.addEventListener("focusin", (event) => show(tokenAt(event.target)));
  text.addEventListener("focusout", () => shown.hide());
  text.addEventListener("click", (event) => tokenAt(event.target) && choose(tokenAt(event.target)));
  text.addEventListener("keydown", pressed);
}

// What a sequence kept of the one it was branched off from, greyed and underlined, and the token that it was given.
function before(sequence) {
  if (!sequence.first) return [];
  const kept = element("span", "kept", sequence.kept);
  kept.title = "kept from where it was branched off";
  const fork = element("span", "fork");
  fork.setAttribute("aria-hidden", "true");
  return [kept, fork, element("span", "forced", sequence.forced)];
}

function fillText(text, sequence) {
  const rest = document.createTextNode(sequence.rest);
  text.replaceChildren(...before(sequence), ...sequence.tokens.map(tokenElement), rest);
}

// What is said of a branch where it is not whole: that it is being written, or why it could not be.
function noteOf(branch) {
  if (branch.problem) {
    const problem = element("div", "problem", branch.problem);
    problem.setAttribute("role", "alert");
    return problem;
  }
  const facts = element("div", "facts", branch.facts);
  facts.setAttribute("role", "status");
  return facts;
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

function markShade(root, shades, shade) {
  root.dataset.shade = shade;
  for (const [place, button] of [...shades.children].entries()) {
    const isChosen = SHADES[place] === shade;
    button.setAttribute("aria-checked", String(isChosen));
    button.tabIndex = isChosen ? 0 : -1;
  }
}
