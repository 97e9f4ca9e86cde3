/* Draws what the page holds: the chart with its events, the calibration curve, the training curve. */
(() => {
  "use strict";

  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)");
  const CONFIG = { displayModeBar: false, responsive: false, doubleClick: false, scrollZoom: false };
  const FONT = 14;

  // Numbers come as base64 of little-endian arrays, values less a base.
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const times = (text) => new Float64Array(bytes(text));
  const values = (text, base = 0) => Float64Array.from(new Float32Array(bytes(text)), (v) => v + base);
  const lines = (strip, base) => ({
    measured: values(strip.measured, base),
    expected: strip.expected === undefined ? null : values(strip.expected, base),
  });
  // plotly takes numbers on an axis of dates for moments of the reader's own zone, and text for what it says: UTC here.
  function place(moment) {
    if (moment === null || !data.timed) return moment;
    const whole = Math.floor(moment);
    const text = new Date(whole).toISOString();
    return text.length === 24 ? text.slice(0, -1) + String(Math.min(999, Math.round((moment - whole) * 1000))).padStart(3, "0") : moment;
  }
  const placed = new WeakMap();
  function places(moments) {
    if (!placed.has(moments)) placed.set(moments, data.timed ? Array.from(moments, place) : moments);
    return placed.get(moments);
  }
  // plotly reads some tags and entities in text; a name from data must stay what it is.
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  const overview = data.panels.map((p) => ({ name: p.name, base: p.base, x: times(p.x), ...lines(p, p.base) }));
  const ranges = (r) => ({ first: times(r.first), last: times(r.last) });
  const events = { ...ranges(data.events), severity: values(data.events.severity), view: ranges(data.events.view) };
  const known = ranges(data.known);
  const trained = ranges(data.trained);
  const notRaised = ranges(data.not_raised);
  const numberOf = (event) => event + data.first_number;
  const bySeverity = [...events.severity.keys()].sort((a, b) => events.severity[b] - events.severity[a]);

  // The whole range of x, with a little room so that the first and the last row can be seen.
  const padded = (low, high, share) => {
    const room = (high - low) * share || (data.timed ? 60000 : 1);
    return [low - room, high + room];
  };
  const extent = (arrays) => {
    let low = Infinity;
    let high = -Infinity;
    for (const array of arrays) {
      for (const v of array) {
        if (v < low) low = v;
        if (v > high) high = v;
      }
    }
    return [low, high];
  };
  const everything = padded(...extent(overview.map((p) => p.x)), 0.005);
  const score = overview.length - 1;
  const FIRST = 6; // features that are drawn until others are chosen
  const firstFeatures = () => new Set(overview.slice(0, Math.min(score, FIRST)).keys());
  const state = { event: null, range: everything, panels: overview, chosen: firstFeatures() };
  const shown = () => state.panels.filter((_, k) => k === score || state.chosen.has(k));

  // Put the rows around an event in the place of the points of the overview that lie there.
  function detailed(event) {
    const detail = data.details[event];
    if (!detail) return overview;
    const x = times(detail.x);
    return overview.map((panel, k) => {
      if (!detail.panels[k]) return panel; // of what is not drawn at first there is the overview alone
      const strip = lines(detail.panels[k], panel.base);
      const [low, high] = detail.panels[k].cut;
      const join = (whole, part) => whole && Float64Array.of(...whole.subarray(0, low), ...part, ...whole.subarray(high));
      return {
        ...panel,
        x: join(panel.x, x),
        measured: join(panel.measured, strip.measured),
        expected: join(panel.expected, strip.expected),
      };
    });
  }

  // The range of y is that of what can be seen; plotly's own takes in everything.
  function heightOf(panel, range) {
    let low = Infinity;
    let high = -Infinity;
    for (const line of [panel.measured, panel.expected]) {
      for (let i = 0; line && i < line.length; i++) {
        if (panel.x[i] < range[0] || panel.x[i] > range[1]) continue;
        if (line[i] < low) low = line[i];
        if (line[i] > high) high = line[i];
      }
    }
    if (panel.expected === null) {
      low = Math.log10(Math.min(low, data.threshold));
      high = Math.log10(Math.max(high, data.threshold));
    } else if (low > high) {
      [low, high] = [-1, 1];
    }
    const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
    return [low - room, high + room];
  }

  const font = () => ({ family: getComputedStyle(document.body).fontFamily, size: FONT, color: colour("quiet") });
  const axis = (more) => ({
    gridcolor: colour("rule"), linecolor: colour("rule"), zeroline: false, automargin: true, tickangle: 0,
    exponentformat: "power", ...more,
  });
  const layoutOf = (more) => ({
    font: font(), paper_bgcolor: colour("card"), plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("rule"), font: { ...font(), color: colour("ink") } },
    ...more,
  });

  // One path for all bands: thousands of them cost no more than one.
  function bands({ first, last }, bottom, top, fill, edge, width) {
    const x = [];
    const y = [];
    first.forEach((a, i) => {
      x.push(...[a, a, last[i], last[i], a, null].map(place));
      y.push(bottom, top, top, bottom, bottom, null);
    });
    return {
      x, y, type: "scatter", mode: "lines", fill: "toself", fillcolor: fill, line: { color: edge, width },
      hoverinfo: "skip", yaxis: "y",
    };
  }

  // Numbers of events over their bands; where they would overlap the more severe event keeps its number.
  function numbers(range, width) {
    const perPixel = (range[1] - range[0]) / Math.max(width, 1);
    const taken = [];
    const shown = [];
    for (const i of bySeverity) {
      const [a, b] = [Math.max(events.first[i], range[0]), Math.min(events.last[i], range[1])];
      const room = (String(numberOf(i)).length * 9 + 8) * perPixel;
      const at = (a + b) / 2;
      if (a > b || at - room / 2 < range[0] || at + room / 2 > range[1]) continue;
      if (taken.some(([t, r]) => Math.abs(t - at) < (r + room) / 2)) continue;
      taken.push([at, room]);
      shown.push(i);
      if (shown.length >= 60) break;
    }
    return shown.map((i, k) => ({
      text: i === state.event ? `<b>${numberOf(i)}</b>` : `${numberOf(i)}`, x: place(taken[k][0]), y: 1, yref: "paper", yanchor: "bottom", yshift: 1,
      showarrow: false, font: { ...font(), color: colour("ink") }, borderpad: 0,
    }));
  }

  function strip(panel, k) {
    const yaxis = `y${k + 2}`;
    const trace = (name, y, more) => ({
      x: places(panel.x), y, name, yaxis, type: "scatter", mode: "lines", hovertemplate: "%{y:.5~g}", connectgaps: false, ...more,
    });
    if (panel.expected === null) {
      return [
        trace("score", panel.measured, { line: { color: colour("score"), width: panel.x.length > 2500 ? 0.9 : 1.3 } }),
        trace("threshold", [data.threshold, data.threshold], {
          x: places(everything), line: { color: colour("threshold"), width: 1.6, dash: "dash" }, hoverinfo: "skip", hovertemplate: null,
        }),
      ];
    }
    return [
      trace("expected", panel.expected, { line: { color: colour("expected"), width: 1.6 } }),
      trace("measured", panel.measured, { line: { color: colour("measured"), width: panel.x.length > 2500 ? 0.9 : 1.3 } }),
    ];
  }

  // Strips one below the other, each with its name above it; a first strip holds the numbers of the events.
  function chartLayout(width) {
    const narrow = width < 600;
    const panels = shown();
    const strips = panels.length;
    const small = strips > FIRST + 1; // many small ones, so that they can be compared
    const title = small ? 22 : 26;
    const one = small ? 52 : Math.round((narrow ? 96 : 120) * (strips > 4 ? 0.85 : strips < 3 ? 1.35 : 1));
    const marks = 10;
    const below = data.timed ? 64 : 48;
    const inner = marks + strips * (one + title);
    const layout = layoutOf({
      height: inner + 26 + below, margin: { l: narrow ? 46 : 60, r: narrow ? 8 : 16, t: 26, b: below },
      dragmode: touch.matches ? false : "zoom", hovermode: touch.matches ? false : "x unified",
      yaxis: { domain: [0, 1], range: [0, 1], visible: false, fixedrange: true },
      annotations: numbers(state.range, width - (narrow ? 54 : 76)),
    });
    panels.forEach((panel, k) => {
      const high = 1 - (marks + k * (one + title) + title) / inner;
      layout[`yaxis${k + 2}`] = axis({
        domain: [Math.max(0, high - one / inner), high], fixedrange: true, nticks: small ? 2 : 4, range: heightOf(panel, state.range),
        ...(panel.expected === null ? logTicks(...heightOf(panel, state.range), 4) : {}),
      });
      layout.annotations.push({
        text: plain(short(panel.name, Math.min(60, Math.floor((width - 80) / 8)))),
        x: 0, xref: "paper", xanchor: "left", y: high, yref: "paper", yanchor: "bottom", yshift: 2,
        showarrow: false, font: { ...font(), color: colour("ink") }, bgcolor: colour("card"), borderpad: 0, opacity: 0.9,
      });
    });
    layout.xaxis = axis({ // the range is a copy: plotly writes into it
      type: data.timed ? "date" : "linear", range: state.range.map(place), anchor: `y${strips + 1}`,
      showgrid: true, nticks: narrow ? 4 : 10,
      ...(data.timed ? {} : { tickformat: ",d" }),
      ...(data.timed ? { hoverformat: "%Y-%m-%d %H:%M:%S" } : { hoverformat: ",d" }), automargin: false,
    });
    // Not the title of the axis: that would overlap with a second line of dates.
    layout.annotations.push({
      text: data.timed ? "time (UTC)" : "row", x: 0.5, xref: "paper", xanchor: "center", y: 0, yref: "paper", yanchor: "top",
      yshift: data.timed ? -42 : -26, showarrow: false, font: font(),
    });
    layout.width = width;
    return { layout, inner };
  }

  const short = (text, most) => (text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text);
  // Places and texts for a log axis, whose range comes as exponents: powers of ten, or 1, 2, 5, or even steps.
  function logTicks(low, high, most) {
    const places = [];
    if (high - low < 0.5) {
      const rough = (10 ** high - 10 ** low) / most;
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = power * ([1, 2, 5].find((f) => f * power >= rough) || 10);
      for (let v = Math.ceil(10 ** low / step) * step; v <= 10 ** high; v += step) places.push(v);
    } else {
      const every = Math.max(1, Math.ceil((high - low) / most));
      const digits = high - low < most / 3 ? [1, 2, 5] : [1];
      for (let k = Math.floor(low); k <= high; k++) {
        for (const d of digits) if (k % every === 0) places.push(d * 10 ** k);
      }
    }
    const tickvals = places.filter((v) => v > 0 && Math.log10(v) >= low && Math.log10(v) <= high);
    return { type: "log", range: [low, high], tickmode: "array", tickvals, ticktext: tickvals.map(tickText) };
  }
  function tickText(value) {
    if (value >= 0.00099 && value < 1e5) return Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 9 });
    const [digits, power] = Number(value.toPrecision(4)).toExponential().split("e");
    const raised = [...power.replace("+", "")].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
    return `${digits === "1" ? "" : `${digits}·`}10${raised}`;
  }
  const logRange = (numbers, room) => {
    const [low, high] = extent([numbers.filter((v) => v > 0)]);
    return low > high ? [-1, 1] : [Math.log10(low) - room, Math.log10(high) + room];
  };
  const heading = (text) => ({ text, standoff: 8, font: font() });

  function drawChart() {
    const target = byId("chart");
    const width = target.clientWidth;
    const { layout, inner } = chartLayout(width);
    const traces = [
      bands(trained, 0, 1, colour("trained"), "rgba(0,0,0,0)", 0),
      bands(events, 0, 1, colour("event"), colour("event-edge"), 0.6),
    ];
    if (state.event !== null) {
      const one = { first: [events.first[state.event]], last: [events.last[state.event]] };
      traces.push(bands(one, 0, 1, "rgba(0,0,0,0)", colour("event-edge"), 2.5));
    }
    traces.push(bands(notRaised, 0, 12 / inner, colour("event-edge"), colour("event-edge"), 1));
    traces.push(bands(known, 1 - 5 / inner, 1, colour("known"), colour("known"), 1));
    shown().forEach((panel, k) => traces.push(...strip(panel, k)));
    Plotly.react(target, traces, layout, CONFIG);
  }

  function drawCalibration() {
    const { cuts, rates, rate, unit } = data.calibration;
    const positive = (y) => (y > 1e-9 ? y : null);
    const layout = layoutOf({
      width: byId("calibration").clientWidth, height: 300, margin: { l: 60, r: 12, t: 26, b: 52 },
      hovermode: touch.matches ? false : "closest", dragmode: false,
      xaxis: axis({ ...logTicks(...logRange(cuts, 0), 5), title: heading("threshold"), fixedrange: true }),
      yaxis: axis({ ...logTicks(...logRange(rates.map(positive), 0.1), 6), title: heading(`alarms ${unit}`), fixedrange: true }),
      shapes: [{
        type: "line", x0: data.threshold, x1: data.threshold, xref: "x", y0: 0, y1: 1, yref: "paper",
        line: { color: colour("threshold"), width: 1.6, dash: "dash" },
      }],
      annotations: [{
        text: "this threshold", x: Math.log10(data.threshold), xref: "x", y: 1, yref: "paper", yanchor: "bottom", showarrow: false,
        font: { ...font(), color: colour("threshold") },
      }],
    });
    Plotly.react(byId("calibration"), [
      {
        x: cuts, y: rates.map(positive), type: "scatter", mode: "lines", line: { color: colour("measured"), width: 2 },
        hovertemplate: `threshold %{x:.4~g}: %{y:.3~g} ${unit}<extra></extra>`,
      },
      {
        x: [data.threshold], y: [positive(rate)], type: "scatter", mode: "markers", marker: { color: colour("threshold"), size: 9 },
        hovertemplate: `threshold %{x:.4~g}: %{y:.3~g} ${unit}<extra></extra>`,
      },
    ], layout, CONFIG);
  }

  function drawTraining() {
    const { history, best } = data.training;
    const n = Math.max(0, ...Object.values(history).map((y) => y.length));
    const styles = {
      loss: { color: colour("loss"), width: 7 },
      reconstruction_loss: { color: colour("measured"), dash: "dot", width: 2 },
      validation_loss: { color: colour("expected"), width: 2 },
    };
    const traces = Object.entries(history).map(([name, y]) => ({
      x: y.map((_, i) => i + 1), y, name: name.replaceAll("_", " "), type: "scatter", mode: y.length > 1 ? "lines" : "markers",
      line: styles[name], marker: { color: styles[name].color }, hovertemplate: "%{y:.4~g}",
    }));
    const chosen = (history.validation_loss || history.loss || [])[best - 1];
    traces.push({
      x: [best], y: [chosen === undefined ? null : chosen], name: "best epoch", type: "scatter", mode: "markers", hoverinfo: "skip",
      marker: { symbol: "diamond-open", size: 12, color: colour("ink"), line: { width: 2 } },
    });
    Plotly.react(byId("training"), traces, layoutOf({
      width: byId("training").clientWidth, height: 300, margin: { l: 60, r: 12, t: 14, b: 52 },
      hovermode: touch.matches ? false : "x unified", dragmode: false,
      xaxis: axis({ title: heading("epoch"), fixedrange: true, tickformat: "d", ...(n > 8 ? { nticks: 8 } : { dtick: 1 }) }),
      yaxis: axis({ ...logTicks(...logRange(Object.values(history).flat(), 0.05), 6), title: heading("loss"), fixedrange: true }),
    }), CONFIG);
  }

  function drawHeatmap() {
    const map = data.heatmaps[state.event];
    byId("explanation").hidden = !map;
    if (!map) return;
    const target = byId("heatmap");
    const x = times(map.x);
    const flat = values(map.z);
    const width = target.clientWidth;
    const most = width < 600 ? 12 : 24;
    const heights = [...map.features.keys()];
    const names = map.features.map((name) => plain(short(name, most)));
    Plotly.react(target, [{
      x: places(x), y: heights, z: heights.map((k) => Array.from(flat.subarray(k * x.length, (k + 1) * x.length))),
      type: "heatmap", colorscale: "Cividis", zmin: 0, showscale: false, hovertemplate: "%{x}: %{z:.3~g}<extra></extra>",
    }], layoutOf({
      width, height: 28 * map.features.length + 80, margin: { l: 60, r: 12, t: 12, b: 52 }, dragmode: false,
      xaxis: axis({
        type: data.timed ? "date" : "linear", fixedrange: true, nticks: width < 600 ? 4 : 10, showgrid: false,
        ...(data.timed ? {} : { tickformat: ",d" }),
      }),
      yaxis: axis({ autorange: "reversed", tickvals: heights, ticktext: names, fixedrange: true, showgrid: false }),
    }), CONFIG);
  }

  function draw() {
    drawChart();
    drawCalibration();
    drawTraining();
    drawHeatmap();
  }

  function mark(event) {
    for (const row of document.querySelectorAll("tr[data-event]")) {
      if (Number(row.dataset.event) === event) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    byId("all").disabled = false;
  }

  // The table: its order, and what of it is unfolded.
  const body = byId("events");
  const rows = body ? [...body.rows] : [];
  const SORTED = {
    time: (a, b) => a.dataset.event - b.dataset.event,
    severity: (a, b) => b.dataset.severity - a.dataset.severity || SORTED.time(a, b),
    duration: (a, b) => b.dataset.duration - a.dataset.duration || SORTED.time(a, b),
  };
  const order = () => [...body.rows].map((row) => Number(row.dataset.event));
  const UNFOLDED = 12; // as in the style

  function unfold() {
    body.classList.remove("folded");
    byId("folding").hidden = true;
  }

  // The event that is shown is not folded away; beyond the ends of the table there is none.
  function placeInTable() {
    const place = order().indexOf(state.event);
    if (place >= UNFOLDED && body.classList.contains("folded")) unfold();
    byId("previous").disabled = place === 0;
    byId("next").disabled = place === rows.length - 1;
  }

  function step(by) {
    const events = order();
    const at = events.indexOf(state.event);
    const next = at < 0 ? (by > 0 ? 0 : events.length - 1) : at + by;
    if (next >= 0 && next < events.length) show(events[next]);
  }

  function show(event) {
    state.event = event;
    state.range = padded(events.view.first[event], events.view.last[event], 0.01);
    state.panels = detailed(event);
    mark(event);
    placeInTable();
    byId("status").textContent = `Event ${numberOf(event)} is shown.`;
    drawChart();
    drawHeatmap();
    byId("chart").closest("section").scrollIntoView({ block: "nearest" });
  }

  function showAll() {
    Object.assign(state, { event: null, range: everything, panels: overview });
    mark(null);
    byId("all").disabled = true;
    byId("previous").disabled = byId("next").disabled = !rows.length;
    byId("status").textContent = "";
    drawChart();
    drawHeatmap();
  }

  // plotly is not done with the mouse when it tells of it.
  const later = (act) => setTimeout(act, 0);

  draw();
  byId("chart").on("plotly_relayout", (change) => {
    if (!Object.keys(change).some((key) => key.startsWith("xaxis.range"))) return;
    const { xaxis } = byId("chart")._fullLayout;
    state.range = xaxis.range.map((end) => xaxis.r2l(end));
    byId("all").disabled = false;
    later(drawChart);
  });
  byId("chart").on("plotly_doubleclick", () => later(showAll));
  byId("all").addEventListener("click", showAll);
  for (const row of document.querySelectorAll("tr[data-event]")) {
    row.addEventListener("click", () => show(Number(row.dataset.event)));
    row.addEventListener("keydown", (key) => {
      if (key.key !== "Enter" && key.key !== " ") return;
      key.preventDefault();
      show(Number(row.dataset.event));
    });
  }
  if (rows.length) {
    const counted = rows.filter((row) => row.dataset.training === undefined);
    const worst = () => show(Number((counted.length ? counted : [...rows]).sort(SORTED.severity)[0].dataset.event));
    const acts = { n: () => step(1), p: () => step(-1), w: worst };
    for (const [id, act] of [["next", acts.n], ["previous", acts.p], ["worst", worst]]) {
      byId(id).disabled = false;
      byId(id).addEventListener("click", act);
    }
    byId("keys").hidden = touch.matches;
    document.addEventListener("keydown", (key) => {
      if (key.ctrlKey || key.altKey || key.metaKey || key.target.closest("select, input")) return;
      if (key.key === "Escape" && !byId("all").disabled) showAll();
      if (acts[key.key]) acts[key.key]();
    });
  }
  if (rows.length > 1) {
    byId("sorting").hidden = false;
    byId("sort").value = "time"; // a browser may remember another choice
    byId("sort").addEventListener("change", () => {
      body.append(...rows.sort(SORTED[byId("sort").value]));
      if (state.event !== null) placeInTable();
    });
  }
  if (rows.length > UNFOLDED) {
    body.classList.add("folded");
    byId("unfold").textContent = `Show all ${rows.length.toLocaleString("en")} events`;
    byId("folding").hidden = false;
    byId("unfold").addEventListener("click", unfold);
  }

  // Which features are drawn.
  function choose(chosen) {
    state.chosen = chosen;
    byId("chosen").textContent = `Features: ${chosen.size} of ${score} drawn`;
    for (const box of byId("features").querySelectorAll("input")) box.checked = chosen.has(Number(box.value));
    drawChart();
  }
  if (score > 1) {
    for (const [k, panel] of overview.slice(0, score).entries()) {
      const [item, label, box, name] = ["li", "label", "input", "span"].map((tag) => document.createElement(tag));
      Object.assign(box, { type: "checkbox", value: k });
      name.textContent = name.title = panel.name;
      box.addEventListener("change", () => {
        const chosen = new Set(state.chosen);
        if (box.checked) chosen.add(k);
        else chosen.delete(k);
        choose(chosen);
      });
      label.append(box, name);
      item.append(label);
      byId("features").append(item);
    }
    byId("choose").hidden = false;
    byId("first-features").addEventListener("click", () => choose(firstFeatures()));
    byId("all-features").addEventListener("click", () => choose(new Set(overview.slice(0, score).keys())));
    byId("no-features").addEventListener("click", () => choose(new Set()));
    byId("chosen").textContent = `Features: ${state.chosen.size} of ${score} drawn`;
    for (const box of byId("features").querySelectorAll("input")) box.checked = state.chosen.has(Number(box.value));
  }
  dark.addEventListener("change", draw);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone that hides its address bar
    width = innerWidth;
    draw();
  });
})();
