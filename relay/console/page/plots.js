// The plots: five minutes of samples, each in one chart of uPlot.

import * as format from "./format.js";

const windowSeconds = 300;
const lineColors = ["--s1", "--s2", "--s3", "--s4", "--s5", "--s6"];
const dashes = [[], [6, 3], [2, 3], [10, 3, 2, 3]];

// powersOfTwo are the distances between the lines of a plot of bytes.
const powersOfTwo = Array.from({length: 50}, (_, i) => 2 ** i);

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// charts describes the plots. Each line is [name, what to take from a sample].
const charts = [
  {title: "Connections", format: format.count, lines: [["clients", "connections"]]},
  {title: "Messages in", unit: "/s", format: format.count, lines: [["from Redis", "messages"]]},
  {title: "Deliveries out", unit: "/s", format: format.count, lines: [["to clients", "deliveries"]]},
  {title: "Delivery lag", format: format.seconds, lines: [["p50", "lag50"], ["p99", "lag99"], ["through Redis", "trip"]]},
  {title: "Outbox bytes", format: format.bytes, lines: [["waiting for clients", "outbox"]]},
  {title: "Gaps", unit: "/s", format: format.count, lines: [["gaps", "gaps"]]},
  {title: "Closes by code", unit: "/s", format: format.count, lines: [], byCode: true},
  {title: "Memory", format: format.bytes, lines: [["process", "memory"], ["heap", "heap"]]},
  {title: "Redis", format: (up) => up === null ? format.none : up ? "connected" : "not connected", lines: [["state", "up"]], timeline: true},
];

// element returns a new element with a class and text.
function element(tag, className = "", text = "") {
  const e = document.createElement(tag);
  e.className = className;
  e.textContent = text;
  return e;
}

// swatch returns the sample of a line for its legend.
function swatch(index) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg"), line = document.createElementNS(ns, "line");
  svg.setAttribute("viewBox", "0 0 16 10");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, value] of Object.entries({
    x1: 0, x2: 16, y1: 5, y2: 5, "stroke-width": 2.5, stroke: `var(${lineColors[index % lineColors.length]})`,
    "stroke-dasharray": dashes[index % dashes.length].join(" "),
  })) line.setAttribute(name, value);
  svg.append(line);
  return svg;
}

class Plot {
  constructor(chart, xs) {
    this.chart = chart;
    this.xs = xs;
    this.lines = [];
    this.figure = element("figure", chart.timeline ? "card plot timeline" : "card plot");
    const caption = element("figcaption");
    this.legend = element("dl");
    caption.append(element("h3", "", chart.title), this.legend);
    this.area = element("div", "area");
    this.area.setAttribute("role", "img");
    this.area.setAttribute("aria-label", `${chart.title}: a plot. Its values are in the table after the plots.`);
    this.figure.append(caption, this.area);
    for (const [name, field] of chart.lines) this.addLine(name, field);
  }

  addLine(name, field) {
    const index = this.lines.length, value = element("dd", "", format.none), item = element("div");
    if (!this.chart.timeline && (this.chart.lines.length > 1 || this.chart.byCode)) item.append(swatch(index));
    item.append(element("dt", this.chart.lines.length === 1 ? "hidden" : "", name), value);
    this.legend.append(item);
    const line = {name, field, value, ys: this.xs.map(() => null)};
    this.lines.push(line);
    if (this.plot) this.plot.addSeries(this.series(index), index + 1);
    return line;
  }

  series(index) {
    const color = lineColors[index % lineColors.length];
    return {
      stroke: () => css(color), width: 1.5, dash: dashes[index % dashes.length], points: {show: false},
      fill: this.chart.lines.length === 1 && !this.chart.timeline ? () => css(color) + "22" : undefined,
      show: !this.chart.timeline,
    };
  }

  // add takes the values of a sample. xs has its time already.
  add(sample) {
    if (this.chart.byCode) {
      for (const {kind, cause} of sample.causes ?? []) {
        if (kind === "closed" && !this.lines.some((line) => line.field === cause)) this.addLine(cause, cause).ys.pop();
      }
    }
    for (const line of this.lines) {
      let value = sample[line.field] ?? null;
      if (this.chart.byCode) value = sample.causes.find(({kind, cause}) => kind === "closed" && cause === line.field)?.rate ?? 0;
      if (this.chart.timeline) value = sample.up ? 1 : 0;
      line.ys.push(value);
    }
  }

  trim(surplus) { for (const line of this.lines) line.ys.splice(0, surplus); }

  get data() { return [this.xs, ...this.lines.map((line) => line.ys)]; }

  // show writes the values at an index into the legend.
  show(index) {
    for (const line of this.lines) {
      const text = this.text(line.ys.at(index) ?? null);
      if (line.value.textContent !== text) line.value.textContent = text;
    }
  }

  text(value) { return this.chart.format(value) + (this.chart.unit && value !== null ? this.chart.unit : ""); }

  draw(sync) {
    if (!this.plot) this.create(sync);
    this.plot.setData(this.data);
  }

  create(hover) {
    const axis = (more) => ({
      stroke: () => css("--quiet"), font: "11px system-ui, sans-serif",
      grid: {stroke: () => css("--grid"), width: 1}, ticks: {show: false}, ...more,
    });
    const time = (u, all) => all.map((x) => {
      const at = u.valToPos(x, "x"); // texts at the edges would be cut
      return at < 16 || at > u.over.clientWidth - 12 ? "" : format.time(x * 1000).slice(0, 5);
    });
    this.plot = new uPlot({
      width: this.area.clientWidth, height: this.area.clientHeight, padding: [6, 4, 0, 0],
      legend: {show: false},
      cursor: {sync: {key: "console", setSeries: false}, y: false, drag: {x: false, y: false}, points: {show: !this.chart.timeline}},
      scales: {x: {range: (u, low, high) => [Math.max(low ?? 0, (high ?? 0) - windowSeconds), Math.max(high ?? 0, (low ?? 0) + 60)]}, y: {range: this.range.bind(this)}},
      axes: [
        axis({space: 44, size: 22, gap: 3, values: time}),
        axis({show: !this.chart.timeline, space: 28, size: 58, gap: 4, ...(this.chart.format === format.bytes ? {incrs: powersOfTwo} : {}), values: (u, all) => all.map((y) => this.chart.format(y))}),
      ],
      series: [{}, ...this.lines.map((line, i) => this.series(i))],
      hooks: {setCursor: [(u) => hover(u.cursor.left >= 0 ? u.cursor.idx : null)], draw: this.chart.timeline ? [(u) => this.drawTimeline(u)] : []},
    }, this.data, this.area);
    new ResizeObserver(() => this.plot.setSize({width: this.area.clientWidth, height: this.area.clientHeight})).observe(this.area);
  }

  // range begins at zero, so that small changes look small.
  range(u, low, high) {
    if (this.chart.timeline) return [0, 1];
    return [0, high > 0 ? high * 1.15 : this.chart.format === format.seconds ? .001 : 1];
  }

  // drawTimeline draws a tall bar for each second with Redis, and a short one
  // for each without.
  drawTimeline(u) {
    const {left, top, width, height} = u.bbox;
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(left, top, width, height);
    u.ctx.clip();
    this.xs.forEach((x, i) => {
      const up = this.lines[0].ys[i];
      if (up === null) return;
      const to = Math.ceil(u.valToPos(x, "x", true)), from = Math.floor(u.valToPos(Math.max(this.xs[i - 1] ?? 0, x - 2), "x", true));
      const tall = height * (up ? .7 : .25);
      u.ctx.fillStyle = css(up ? "--s1" : "--bad");
      u.ctx.fillRect(from, top + height - tall, to - from, tall);
    });
    u.ctx.restore();
  }
}

// Plots shows all charts.
export class Plots {
  constructor(parent, slider, sliderText) {
    this.xs = [];
    this.plots = charts.map((chart) => new Plot(chart, this.xs));
    parent.append(...this.plots.map((plot) => plot.figure));
    this.slider = slider;
    this.sliderText = sliderText;
    this.index = null; // of the sample whose values are shown; null: the newest
    slider.addEventListener("input", () => this.select(slider.valueAsNumber));
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
      matchMedia(query).addEventListener("change", () => this.draw());
    }
  }

  add(sample) {
    const newest = this.xs.at(-1), x = sample.ms / 1000;
    if (newest !== undefined && x - newest > 5) this.push(newest + (x - newest) / 2, {causes: []}, true); // the console was not connected
    this.push(x, sample);
    const surplus = this.xs.findIndex((x) => x >= sample.ms / 1000 - windowSeconds);
    this.xs.splice(0, surplus);
    for (const plot of this.plots) plot.trim(surplus);
    if (this.index !== null) this.index = this.index - surplus >= 0 ? this.index - surplus : null;
    this.draw();
  }

  push(x, sample, isGap = false) {
    this.xs.push(x);
    for (const plot of this.plots) {
      if (isGap) plot.lines.forEach((line) => line.ys.push(null));
      else plot.add(sample);
    }
  }

  draw() {
    if (document.hidden || this.xs.length === 0) return;
    for (const plot of this.plots) plot.draw((index) => this.hover(index));
    this.slider.max = this.xs.length - 1;
    if (this.index === null) this.slider.value = this.slider.max;
    this.show();
  }

  // hover is called by every plot whose cursor moves.
  hover(index) {
    if (index === this.index) return;
    this.index = index;
    this.slider.value = index ?? this.slider.max;
    this.show();
  }

  // select moves the cursors of all plots to a sample.
  select(index) {
    this.index = index >= this.xs.length - 1 ? null : index;
    for (const {plot} of this.plots) {
      if (plot) plot.setCursor(this.index === null ? {left: -10, top: -10} : {left: plot.valToPos(this.xs[index], "x"), top: 0}, false);
    }
    this.show();
  }

  show() {
    const index = this.index ?? this.xs.length - 1;
    this.sliderText.textContent = this.index === null ? "now" : format.time(this.xs[index] * 1000);
    this.slider.setAttribute("aria-valuetext", this.sliderText.textContent);
    for (const plot of this.plots) plot.show(index);
  }

  // rows returns the contents of the table: name, now, lowest, highest.
  rows() {
    return this.plots.flatMap((plot) => plot.lines.map((line) => {
      const known = line.ys.filter((y) => y !== null);
      const text = (y) => plot.text(y ?? null);
      const name = plot.chart.lines.length === 1 ? plot.chart.title : `${plot.chart.title}, ${line.name}`;
      return [name, text(line.ys.at(-1)), text(known.length ? Math.min(...known) : null), text(known.length ? Math.max(...known) : null)];
    }));
  }
}
