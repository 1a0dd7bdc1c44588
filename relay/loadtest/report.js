'use strict';
const svgSpace = 'http://www.w3.org/2000/svg';
const make = (parent, name, attributes, text) => {
  const e = document.createElementNS(svgSpace, name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  if (text !== undefined) e.textContent = text;
  return parent.appendChild(e);
};
const element = (parent, name, className, text) => {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return parent.appendChild(e);
};

const digits = (v) => v >= 100 ? Math.round(v).toLocaleString('en') : String(+v.toPrecision(3));
const asTime = (ms) => ms >= 1000 ? `${digits(ms / 1000)} s` : ms >= 1 || ms === 0 ? `${digits(ms)} ms` : `${digits(ms * 1000)} µs`;
const asCount = (v) => v >= 1e6 ? `${digits(v / 1e6)} M` : v >= 1e4 ? `${digits(v / 1e3)} k` : digits(v);
const asPercent = (v) => `${digits(v)}%`;

const line = (name, field, color, dash) => ({ name, field, color: `var(--${color})`, dash });
const charts = [
  { title: 'Latency', hint: 'from PUBLISH to the client, logarithmic', log: true, format: asTime, lines: [
    line('max', 'max_ms', 'most', '3 3'), line('p99', 'p99_ms', 'high'), line('p90', 'p90_ms', 'mid'), line('p50', 'p50_ms', 'low')] },
  { title: 'Throughput', hint: 'deliveries per second', format: asCount, area: true,
    lines: [line('deliveries/s', 'deliveries_per_second', 'mid')] },
];
const connected = run.series.map((p) => p.connected);
if (Math.min(...connected) !== Math.max(...connected)) {
  charts.push({ title: 'Clients', hint: 'served now', format: asCount, area: true, small: true, lines: [line('clients', 'connected', 'mid')] });
}
if (run.server) {
  charts.push({ title: 'CPU of the relay', hint: 'percent of one core', format: asPercent, area: true, small: true,
    lines: [line('CPU', 'server_cpu_percent', 'mid')] });
}

// Ticks of a linear axis from 0 are round and four or five.
function linearTicks(most) {
  most ||= 1;
  const rough = most / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const ticks = [];
  for (let v = 0; ticks.length === 0 || ticks.at(-1) < most * 0.999; v += step) ticks.push(v);
  return ticks;
}

// Ticks of a logarithmic axis are decades, with 2 and 5 between them while there are few.
function logTicks(least, most) {
  const between = (factors) => {
    const ticks = [];
    for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) {
      for (const f of factors) ticks.push(+(f * 10 ** power).toPrecision(6));
    }
    const from = ticks.findLastIndex((t) => t <= least), to = ticks.findIndex((t) => t >= most);
    return ticks.slice(Math.max(from, 0), to < 0 ? undefined : to + 1);
  };
  return [[1, 2, 5], [1, 3], [1]].map(between).find((t) => t.length <= 7) || between([1]);
}

// Where nothing came there is no latency, and the line has a hole.
const known = (chart, point, field) => !chart.log || point[field] > 0;

function scales(chart, width, height) {
  const values = run.series.flatMap((p) => chart.lines.filter((l) => known(chart, p, l.field)).map((l) => p[l.field]));
  const most = Math.max(...values, chart.log ? 0.001 : 0), least = Math.min(...values, most);
  const ticks = chart.log ? logTicks(least, most) : linearTicks(most);
  const [low, high] = [ticks[0], ticks.at(-1)];
  const share = chart.log ? (v) => Math.log(v / low) / (Math.log(high / low) || 1) : (v) => v / high;
  const end = Math.max(run.series.at(-1).t, 0.001);
  return { ticks, y: (v) => height * (1 - share(v)), x: (t) => width * t / end, end };
}

function path(chart, l, scale) {
  let d = '', pen = 'M';
  for (const p of run.series) {
    if (!known(chart, p, l.field)) { pen = 'M'; continue; }
    d += `${pen}${scale.x(p.t).toFixed(1)} ${scale.y(p[l.field]).toFixed(1)}`;
    pen = 'L';
  }
  return d;
}

// The names at the ends of lines are pushed apart where they would overlap.
function endLabels(g, chart, scale, width) {
  const labels = chart.lines.flatMap((l) => {
    const last = run.series.findLast((p) => known(chart, p, l.field));
    return last ? [{ name: l.name, y: scale.y(last[l.field]) }] : [];
  }).sort((a, b) => a.y - b.y);
  for (let i = 1; i < labels.length; i++) labels[i].y = Math.max(labels[i].y, labels[i - 1].y + 14);
  for (const l of labels) make(g, 'text', { x: width + 6, y: l.y + 4, class: 'end' }, l.name);
}

function draw(chart, svg) {
  const outer = svg.parentNode.clientWidth - 34, bottom = 24;
  const left = 58, right = 40, top = 12; // the same for all, so that times stand above each other
  const width = Math.max(outer - left - right, 100), height = chart.small ? 110 : 220;
  svg.replaceChildren();
  svg.setAttribute('height', height + top + bottom);
  const g = make(svg, 'g', { transform: `translate(${left} ${top})` });
  const scale = scales(chart, width, height);
  for (const s of run.storms) {
    const from = scale.x(s.at_seconds), to = scale.x(Math.min(s.at_seconds + s.all_ms / 1000, scale.end));
    make(g, 'rect', { x: from, y: 0, width: Math.max(to - from, 2), height, fill: 'var(--storm)' });
    make(g, 'text', { x: from + 4, y: 12 }, 'storm');
  }
  scale.ticks.forEach((tick, i) => {
    const y = scale.y(tick);
    make(g, 'line', { x1: 0, x2: width, y1: y, y2: y, class: i ? 'grid' : 'base' });
    make(g, 'text', { x: -8, y: y + 4, 'text-anchor': 'end' }, chart.format(tick));
  });
  const times = linearTicks(scale.end).filter((t) => t <= scale.end * 1.001);
  for (const t of times) make(g, 'text', { x: scale.x(t), y: height + 18, 'text-anchor': 'middle' }, `${digits(t)} s`);
  for (const l of chart.lines) {
    const d = path(chart, l, scale);
    if (chart.area && d) {
      const last = scale.x(run.series.at(-1).t), first = scale.x(run.series[0].t);
      make(g, 'path', { d: `${d}L${last} ${height}L${first} ${height}Z`, fill: 'var(--wash)' });
    }
    make(g, 'path', { d, fill: 'none', stroke: l.color, 'stroke-width': l.dash ? 1.5 : 2, 'stroke-linejoin': 'round',
      'stroke-linecap': 'round', 'stroke-dasharray': l.dash || '' });
  }
  if (chart.lines.length > 1) endLabels(g, chart, scale, width);
  chart.cursor = make(g, 'line', { y1: 0, y2: height, stroke: 'var(--axis)', visibility: 'hidden' });
  Object.assign(chart, { scale, left, width, outer });
}

// The cursor moves over all charts at once, and each says what was there.
function point(at) {
  const p = at === null ? null : run.series.reduce((a, b) => Math.abs(b.t - at) < Math.abs(a.t - at) ? b : a);
  for (const chart of charts) {
    chart.tip.style.display = p ? 'block' : 'none';
    chart.cursor.setAttribute('visibility', p ? 'visible' : 'hidden');
    if (!p) continue;
    const x = chart.scale.x(p.t);
    chart.cursor.setAttribute('x1', x);
    chart.cursor.setAttribute('x2', x);
    chart.tip.replaceChildren();
    element(chart.tip, 'div', 't', `${p.t.toFixed(1)} s`);
    for (const l of chart.lines) {
      const row = element(chart.tip, 'div');
      element(row, 'span', '', l.name);
      element(row, 'b', '', known(chart, p, l.field) ? chart.format(p[l.field]) : 'nothing came');
    }
    const place = chart.left + x + 28;
    chart.tip.style.left = `${place + chart.tip.offsetWidth > chart.outer ? place - chart.tip.offsetWidth - 24 : place}px`;
    chart.tip.style.top = '48px';
  }
}

function build(chart) {
  const card = element(document.getElementById('charts'), 'div', 'card chart');
  const head = element(card, 'div', 'head');
  element(head, 'h2', '', chart.title);
  element(head, 'span', 'hint', chart.hint);
  if (chart.lines.length > 1) {
    const key = element(head, 'div', 'key');
    for (const l of chart.lines) {
      const item = element(key, 'span');
      const stroke = element(item, 'i');
      stroke.style.borderTopColor = l.color;
      if (l.dash) stroke.style.borderTopStyle = 'dashed';
      item.append(l.name);
    }
  }
  const svg = make(card, 'svg', { role: 'img', 'aria-label': `${chart.title}, ${chart.hint}, over time` });
  chart.tip = element(card, 'div', 'tip');
  svg.addEventListener('pointermove', (e) => {
    const x = e.clientX - svg.getBoundingClientRect().left - chart.left;
    point(Math.min(Math.max(x / chart.width, 0), 1) * chart.scale.end);
  });
  svg.addEventListener('pointerleave', () => point(null));
  return () => draw(chart, svg);
}

if (run.series.length > 0) {
  const redraw = charts.map(build);
  new ResizeObserver(() => redraw.forEach((again) => again())).observe(document.getElementById('charts'));
} else {
  element(document.getElementById('charts'), 'p', 'hint', 'The run ended before anything was measured.');
}
