// One line on the service: tokens a second with its last minute, and of each model its queue, KV cache and memory.

const STYLE = `
.aphrodite-status { display: flex; flex-wrap: wrap; gap: .3em 1.4em; align-items: center; padding: .35em .8em;
  font-size: .9em; font-variant-numeric: tabular-nums; border-radius: .4em;
  color: var(--jp-ui-font-color1, var(--vscode-editor-foreground, inherit));
  border: 1px solid var(--jp-border-color2, var(--vscode-widget-border, rgba(128, 128, 128, .4))); }
.aphrodite-status .speed { display: flex; gap: .6em; align-items: center; font-weight: 600; min-width: 7em; }
.aphrodite-status svg { width: 7em; height: 1.5em; overflow: visible; }
.aphrodite-status polyline { fill: none; stroke: rgb(255, 152, 0); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.aphrodite-status .model { display: flex; gap: .9em; align-items: center; }
.aphrodite-status .name { font-weight: 600; }
.aphrodite-status .quiet { opacity: .65; }
.aphrodite-status .dot { display: inline-block; width: .6em; height: .6em; margin-right: .4em; border-radius: 50%;
  background: rgb(128, 128, 128); }
.aphrodite-status .dot.ready { background: rgb(67, 160, 71); }
.aphrodite-status .dot.broken { background: rgb(229, 57, 53); }
.aphrodite-status .meter { display: inline-block; width: 4em; height: .55em; margin: 0 .4em; border-radius: .2em;
  background: rgba(128, 128, 128, .25); }
.aphrodite-status .meter div { height: 100%; border-radius: .2em; background: rgb(84, 120, 255); }
.aphrodite-status .problem { color: var(--jp-error-color1, var(--vscode-errorForeground, rgb(229, 57, 53))); }
`;

const QUIET_STATES = ["asleep", "starting", "stopped"];

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function whole(number) {
  return Math.round(number).toLocaleString("en-US");
}

function sparkline(rates) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const top = Math.max(...rates, 1);
  line.setAttribute("points", rates.map((rate, place) => `${place},${20 * (1 - rate / top)}`).join(" "));
  svg.setAttribute("viewBox", "0 0 59 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(line);
  return svg;
}

function speed(reading) {
  const now = reading.models.reduce((sum, model) => sum + model.output_tok_s, 0);
  const made = element("div", "speed");
  made.append(element("span", "", `${whole(now)} tokens/s`), sparkline(reading.rates));
  return made;
}

function meter(share) {
  const made = element("span", "meter");
  const part = element("div", "");
  part.style.width = `${100 * share}%`;
  made.append(part);
  return made;
}

function model(load) {
  const made = element("div", "model");
  const kind = load.state === "ready" ? "ready" : QUIET_STATES.includes(load.state) ? "" : "broken";
  const name = element("span", "name");
  name.append(element("span", `dot ${kind}`), document.createTextNode(load.model));
  made.append(name);
  if (load.state !== "ready") made.append(element("span", "quiet", load.state));
  const cache = element("span", "", "KV");
  cache.append(meter(load.kv_share), document.createTextNode(`${Math.round(100 * load.kv_share)} %`));
  made.append(
    element("span", "", `${load.running} running`),
    element("span", load.waiting ? "" : "quiet", `${load.waiting} waiting`),
    cache,
    element("span", "", `${whole(load.memory_mib)} MiB`),
  );
  return made;
}

function render({ model: state, el }) {
  const style = element("style", "", STYLE);
  const bar = element("div", "aphrodite-status");
  bar.setAttribute("role", "status");
  bar.setAttribute("aria-live", "off"); // once a second is too often to be read aloud
  el.append(style, bar);

  function show() {
    const reading = state.get("reading");
    const models = reading.models.length ? reading.models.map(model) : [element("span", "quiet", "no model is loaded")];
    const problem = reading.problem ? [element("span", "problem", reading.problem)] : [];
    bar.replaceChildren(speed(reading), ...models, ...problem);
    bar.title = reading.url;
  }

  state.on("change:reading", show);
  show();
  return () => state.off("change:reading", show);
}

export default { render };
