'use strict';
(() => {
const $ = id => document.getElementById(id);
const data = JSON.parse($('data').textContent), pictures = JSON.parse($('pictures').textContent);

/* ---- small tools ------------------------------------------------------------------------------------------- */

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat(2).filter(c => c !== null && c !== undefined));
  return element;
}
const html = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);

const known = value => value !== null && value !== undefined && !Number.isNaN(value);
const figure = (value, digits = 4) => known(value) ? value.toFixed(digits) : '\u2013';
const plural = (n, word) => n + ' ' + word + (n === 1 ? '' : 's');
function percent(value) {
  if (!known(value)) return '\u2013';
  const p = 100 * value;
  return (p === 0 || p === 100 ? p.toFixed(0) : p < 1 || p > 99 ? p.toFixed(2) : p.toFixed(1)) + '\u00a0%';
}
/* A threshold with as many digits as tell it from 0 and 1. */
function exact(t) {
  if (t > 0 && t < 0.001) return t.toPrecision(3);
  if (t < 1 && t > 0.999) return (1 - (1 - t).toPrecision(3)).toFixed(8).replace(/0+$/, '');
  return t.toFixed(4);
}
const money = value => value.toLocaleString('en', { maximumFractionDigits: 2 });

/* Number of values of an ascending array that are below x. */
function below(sorted, x) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x) low = middle + 1; else high = middle;
  }
  return low;
}

/* Exact interval of a rate (Clopper and Pearson), as report_groups.c has it. */
const logFactorial = [0];
function logChoose(n, k) {
  for (let i = logFactorial.length; i <= n; i++) logFactorial.push(logFactorial[i - 1] + Math.log(i));
  return logFactorial[n] - logFactorial[k] - logFactorial[n - k];
}
function atLeast(k, n, p) {
  let sum = 0;
  for (let i = k; i <= n; i++) {
    const term = Math.exp(logChoose(n, i) + i * Math.log(p) + (n - i) * Math.log1p(-p));
    sum += term;
    if (i > n * p && term < 1e-17) break;
  }
  return sum;
}
function lowerBound(k, n) {
  let low = 0, high = 1;
  if (k === 0) return 0;
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (atLeast(k, n, middle) < (1 - data.confidence) / 2) low = middle; else high = middle;
  }
  return low;
}
const intervals = new Map();
function interval(k, n) {
  const key = k + '/' + n;
  if (!n) return null;
  if (!intervals.has(key)) intervals.set(key, [lowerBound(k, n), 1 - lowerBound(n - k, n)]);
  return intervals.get(key);
}
const range = bounds => bounds ? percent(bounds[0]).replace('\u00a0%', '') + ' to ' + percent(bounds[1]) : '\u2013';

/* ---- the images -------------------------------------------------------------------------------------------- */

const sizeNames = data.by_size.map(g => g.name), sizeEdges = [0.001, 0.01, 0.05];
const rows = data.predictions.filter(r => r.label);
const isDefect = r => r.label === 'defect';
const sizeOf = r => known(r.defect_area) ? sizeNames[sizeEdges.filter(e => r.defect_area >= e).length] : sizeNames[4];
const nameOf = r => r.path.replace(/^.*\//, ''), shortName = r => r.path.split('/').slice(-2).join('/');
const scores = wanted => rows.filter(r => isDefect(r) === wanted).map(r => r.score).sort((a, b) => a - b);
const good = scores(false), defects = scores(true);

/* Every threshold that gives other verdicts than its neighbours, and the model's own. */
const model = data.at_threshold.threshold;
const steps = (() => {
  const distinct = [...new Set(rows.map(r => r.score))].sort((a, b) => a - b), top = distinct[distinct.length - 1];
  const all = distinct.map((s, i) => i ? (distinct[i - 1] + s) / 2 : s);
  return [...new Set([...all, top + Math.max(1e-6, top * 1e-6), model])].sort((a, b) => a - b);
})();

const state = {
  threshold: model, pixel: 0, prices: [data.prices.escape, data.prices.false_alarm],
  verdict: 'all', type: '', size: '', shown: 24, open: -1
};

function counts(t) {
  const missed = below(defects, t), falseAlarms = good.length - below(good, t), found = defects.length - missed;
  return { found, missed, falseAlarms, passed: good.length - falseAlarms,
           recall: defects.length ? found / defects.length : null, fpr: good.length ? falseAlarms / good.length : null,
           precision: found + falseAlarms ? found / (found + falseAlarms) : null,
           f1: defects.length ? 2 * found / (found + falseAlarms + defects.length) : null };
}
const priced = () => state.prices.every(known);
const cost = c => state.prices[0] * c.missed + state.prices[1] * c.falseAlarms;
const verdictOf = r => isDefect(r) ? (r.score >= state.threshold ? 'found' : 'missed')
                                   : (r.score >= state.threshold ? 'alarm' : 'passed');
const verdictNames = { missed: 'Missed defect', alarm: 'False alarm', found: 'Found', passed: 'Passed' };
/* How far a score is on the wrong side. */
const wrongness = r => isDefect(r) ? state.threshold - r.score : r.score - state.threshold;

/* The same words as report_json.c, headline(). */
function headline(c) {
  const alarms = plural(c.falseAlarms, 'false alarm') + ' among ' + plural(good.length, 'good image');
  if (!defects.length) return alarms + '; there is no defective image.';
  const found = c.found + ' of ' + defects.length + ' defective images are found';
  return found + (good.length ? ', at ' + alarms + '.' : '; there is no good image to tell false alarms by.');
}

/* ---- plots ------------------------------------------------------------------------------------------------- */

const W = 300, H = 240, L = 38, R = 14, T = 8, B = 36;
const sure = name => data.intervals && data.intervals[name] ? ` (${figure(data.intervals[name][0], 3)} to ${figure(data.intervals[name][1], 3)})` : '';

function frame(description, xAxis, yAxis, pick) {
  const X = v => L + (W - L - R) * (v - xAxis.from) / (xAxis.to - xAxis.from);
  const Y = v => H - B - (H - T - B) * (v - yAxis.from) / (yAxis.to - yAxis.from);
  const picture = svg('svg', { viewBox: `0 0 ${W} ${H}`, role: 'img', 'aria-label': description, class: pick ? 'pick' : null });
  for (const v of xAxis.ticks) {
    picture.append(svg('path', { class: 'axis', d: `M${X(v)} ${T}V${H - B}` }),
                   svg('text', { x: X(v), y: H - B + 14, 'text-anchor': 'middle' }, +v.toFixed(4) + ''));
  }
  for (const v of yAxis.ticks) {
    picture.append(svg('path', { class: 'axis', d: `M${L} ${Y(v)}H${W - R}` }),
                   svg('text', { x: L - 5, y: Y(v) + 4, 'text-anchor': 'end' }, +Math.abs(v).toFixed(4) + ''));
  }
  picture.append(svg('text', { x: (L + W - R) / 2, y: H - 4, 'text-anchor': 'middle' }, xAxis.name),
                 svg('text', { x: 10, y: (T + H - B) / 2, transform: `rotate(-90 10 ${(T + H - B) / 2})`, 'text-anchor': 'middle' }, yAxis.name));
  if (pick) {
    const send = event => {
      const box = picture.getBoundingClientRect();
      pick(xAxis.from + ((event.clientX - box.left) / box.width * W - L) / (W - L - R) * (xAxis.to - xAxis.from),
           yAxis.from + (H - B - (event.clientY - box.top) / box.height * H) / (H - T - B) * (yAxis.to - yAxis.from));
    };
    picture.addEventListener('pointerdown', event => { picture.setPointerCapture(event.pointerId); send(event); });
    picture.addEventListener('pointermove', event => { if (event.buttons) send(event); });
  }
  return { picture, X, Y };
}
const unit = name => ({ name, from: 0, to: 1, ticks: [0, 0.25, 0.5, 0.75, 1] });
const lines = points => 'M' + points.map(p => p[0].toFixed(2) + ' ' + p[1].toFixed(2)).join('L');

/* A table beside a plot: rows of numbers, some of many points. */
function pointTable(names, columns, total) {
  const n = columns[0].length, picked = n <= 12 ? columns[0].map((_, i) => i) : [...Array(12)].map((_, i) => Math.round(i * (n - 1) / 11));
  return html('details', null, html('summary', null, 'As a table'), html('div', { class: 'scroll', tabindex: 0 }, html('table', null,
    html('thead', null, html('tr', null, names.map(t => html('th', { scope: 'col' }, t)))),
    html('tbody', null, picked.map(i => html('tr', null, columns.map((c, k) => html('td', null, k ? figure(c[i]) : exact(c[i])))))))),
    html('p', { class: 'note' }, `${picked.length} of ${total} points; all are in report.json.`));
}

const movers = []; /* called when the threshold has moved */

function addPlot(title, metric, picture, ...below) {
  const text = html('figcaption');
  $('plots').append(html('figure', null, html('h3', null, title, html('small', null, metric)), picture, text, ...below));
  return text;
}

function nearest(curve, x, y, xs, ys) {
  let best = 0, least = Infinity;
  xs.forEach((v, i) => {
    const d = (v - x) ** 2 + (ys[i] - y) ** 2;
    if (d < least) { least = d; best = i; }
  });
  return curve.threshold[best];
}

function plotScores() {
  const bins = 40, all = rows.map(r => r.score).concat(model);
  const low = Math.floor(Math.min(...[all.reduce((a, b) => Math.min(a, b)), 1]) * 20) / 20;
  const high = Math.max(low + 0.05, Math.ceil(all.reduce((a, b) => Math.max(a, b)) * 20) / 20);
  const histogram = list => {
    const h = Array(bins).fill(0);
    for (const s of list) h[Math.min(bins - 1, Math.max(0, Math.floor((s - low) / (high - low) * bins)))]++;
    return h;
  };
  const up = histogram(good), down = histogram(defects), most = Math.max(1, ...up, ...down);
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 1e5, 1e6].find(s => most / s <= 3) || most;
  const ticks = [];
  for (let v = 0; v <= most; v += step) ticks.push(v, ...(v ? [-v] : []));
  const { picture, X, Y } = frame(
    `Distribution of scores: ${good.length} good images above the axis, ${defects.length} defective ones below`,
    { name: 'score', from: low, to: high, ticks: [0, 1, 2, 3, 4].map(i => low + (high - low) * i / 4) },
    { name: 'images', from: -most * 1.12, to: most * 1.12, ticks }, x => move(x));
  const bars = (h, sign, kind) => h.forEach((n, i) => {
    if (!n) return;
    const x = X(low + (high - low) * i / bins), width = (W - L - R) / bins, height = Math.max(1.5, Math.abs(Y(n) - Y(0)));
    picture.append(svg('rect', { class: kind, x: x + 0.5, y: sign > 0 ? Y(0) - height : Y(0), width: width - 1, height }));
  });
  bars(up, 1, 'good');
  bars(down, -1, 'defect');
  const rug = (list, y, kind) => picture.append(svg('path', { class: kind, d: list.map(s => `M${X(s).toFixed(2)} ${y}v5`).join('') }));
  rug(good, T, 'good-tick');
  rug(defects, H - B - 5, 'defect-tick');
  picture.append(svg('text', { x: W - R - 4, y: T + 18, 'text-anchor': 'end' }, 'good'),
                 svg('text', { x: W - R - 4, y: H - B - 10, 'text-anchor': 'end' }, 'defective'));
  const cut = svg('path', { class: 'cut' });
  picture.append(cut);
  const table = [...Array(10)].map((_, i) => [low + (high - low) * i / 10, low + (high - low) * (i + 1) / 10]);
  const inside = (list, [a, b], last) => (last ? list.length : below(list, b)) - below(list, a);
  const caption = addPlot('Scores', `${good.length} good, ${defects.length} defective`, picture, html('details', null, html('summary', null, 'As a table'), html('table', null,
    html('thead', null, html('tr', null, ['score from', 'to', 'good', 'defective'].map(t => html('th', { scope: 'col' }, t)))),
    html('tbody', null, table.map((edge, i) => html('tr', null, html('td', null, figure(edge[0], 3)), html('td', null, figure(edge[1], 3)),
      html('td', null, inside(good, edge, i === 9) + ''), html('td', null, inside(defects, edge, i === 9) + '')))))));
  movers.push(c => {
    const x = Math.min(W - R, Math.max(L, X(state.threshold)));
    cut.setAttribute('d', `M${x} ${T}V${H - B}`);
    caption.textContent = `Each tick is an image. Right of the line is rejected: ${plural(c.found, 'defect')}, ${plural(c.falseAlarms, 'good image')}.`;
  });
}

function plotImages(curve) {
  const roc = frame('ROC curve of the images', unit('false alarms / good images'), unit('found / defects'),
                    (x, y) => move(nearest(curve, x, y, curve.fpr, curve.recall)));
  const prc = frame('Precision and recall of the images', unit('recall: found / defects'), unit('precision'),
                    (x, y) => move(nearest(curve, x, y, curve.recall, curve.precision)));
  const share = defects.length / rows.length, marks = [svg('circle', { class: 'mark', r: 4 }), svg('circle', { class: 'mark', r: 4 })];
  roc.picture.append(
    svg('path', { class: 'reference', d: lines([[roc.X(0), roc.Y(0)], [roc.X(1), roc.Y(1)]]) }),
    svg('path', { class: 'curve', d: lines([[roc.X(0), roc.Y(0)], ...curve.fpr.map((v, i) => [roc.X(v), roc.Y(curve.recall[i])])]) }), marks[0]);
  const stairs = [];
  curve.recall.forEach((v, i) => stairs.push([prc.X(i ? curve.recall[i - 1] : 0), prc.Y(curve.precision[i])], [prc.X(v), prc.Y(curve.precision[i])]));
  prc.picture.append(
    svg('path', { class: 'reference', d: lines([[prc.X(0), prc.Y(share)], [prc.X(1), prc.Y(share)]]) }),
    svg('path', { class: 'curve', d: lines(stairs) }), marks[1]);
  const n = curve.threshold.length;
  const captions = [
    addPlot('ROC', 'area ' + figure(data.metrics.i_auroc) + sure('i_auroc'), roc.picture,
            pointTable(['threshold', 'false alarms', 'found'], [curve.threshold, curve.fpr, curve.recall], n)),
    addPlot('Precision-recall', 'AP ' + figure(data.metrics.ap_det) + sure('ap_det'), prc.picture,
            pointTable(['threshold', 'recall', 'precision'], [curve.threshold, curve.recall, curve.precision], n))];
  movers.push(c => {
    const precision = c.precision === null ? 1 : c.precision;
    marks[0].setAttribute('transform', `translate(${roc.X(c.fpr)} ${roc.Y(c.recall)})`);
    marks[1].setAttribute('transform', `translate(${prc.X(c.recall)} ${prc.Y(precision)})`);
    captions[0].textContent = `${percent(c.recall)} of defects found, ${percent(c.fpr)} of good images rejected.`;
    captions[1].textContent = c.precision === null ? 'Nothing is rejected.' : `${percent(c.precision)} of the rejected images are defective.`;
  });
}

function plotPixels(curve) {
  const last = curve.threshold.length - 1, limit = 0.3;
  const { picture, X, Y } = frame('Per-region overlap over the false-positive rate of the pixels',
    { name: 'false-positive rate of pixels', from: 0, to: limit, ticks: [0, 0.1, 0.2, 0.3] }, unit('overlap'),
    (x, y) => set(curve.threshold.indexOf(nearest(curve, x, y, curve.fpr, curve.overlap))));
  const mark = svg('circle', { class: 'mark', r: 4 });
  const points = [[0, 0]];
  for (let i = 0; i <= last; i++) { /* cut at the limit, as AUPRO is */
    const [x0, y0] = points[points.length - 1], x = curve.fpr[i], y = curve.overlap[i];
    if (x > limit) { points.push([limit, y0 + (y - y0) * (limit - x0) / (x - x0)]); break; }
    points.push([x, y]);
  }
  picture.append(svg('path', { class: 'curve', d: lines(points.map(p => [X(p[0]), Y(p[1])])) }), mark);
  const slider = html('input', { type: 'range', min: 0, max: last, step: 1, 'aria-label': 'Pixel threshold', oninput: () => set(last - slider.value) });
  const caption = addPlot('Per-region overlap', 'AUPRO ' + figure(data.metrics.aupro) + sure('aupro'), picture, slider,
    pointTable(['pixel threshold', 'false positives', 'overlap', 'precision', 'recall'],
               [curve.threshold, curve.fpr, curve.overlap, curve.precision, curve.recall], last + 1));
  function set(i) {
    const t = curve.threshold[i], off = curve.fpr[i] > limit;
    slider.value = last - i;
    slider.setAttribute('aria-valuetext', exact(t));
    mark.setAttribute('transform', `translate(${X(Math.min(limit, curve.fpr[i]))} ${Y(curve.overlap[i])})`);
    mark.setAttribute('visibility', off ? 'hidden' : 'visible');
    caption.textContent = `Pixel threshold ${exact(t)}: ${percent(curve.overlap[i])} of a defect is marked, ${percent(curve.fpr[i])} of sound pixels are, ` +
      `and ${percent(curve.precision[i])} of the marked pixels are defective.`;
  }
  /* The last point at or above the model's threshold: what that accepts. */
  set(Math.max(0, curve.threshold.findLastIndex(t => t >= data.model.pixel_threshold)));
}

function plots() {
  plotScores();
  if (data.curves.images) plotImages(data.curves.images);
  else $('plots').append(html('p', { class: 'note' }, 'No ROC and no precision-recall curve: they need good and defective images.'));
  if (data.curves.pixels) plotPixels(data.curves.pixels);
  else $('plots').append(html('p', { class: 'note' }, 'No per-region overlap: no image has a mask that marks a defect.'));
}

/* ---- figures and tables ------------------------------------------------------------------------------------ */

function showFigures(c) {
  const tile = (name, value, small) => html('div', null, html('dt', null, name), html('dd', null, value, small ? html('small', null, small) : null));
  const rate = (k, n) => n ? `${percent(k / n)}, ${range(interval(k, n))}` : null;
  $('figures').replaceChildren(
    tile('Defects found', `${c.found} of ${defects.length}`, rate(c.found, defects.length)),
    tile('Escapes', c.missed + '', rate(c.missed, defects.length)),
    tile('False alarms', `${c.falseAlarms} of ${good.length}`, rate(c.falseAlarms, good.length)),
    tile('Precision', percent(c.precision), 'of what is rejected'),
    tile('F1', figure(c.f1), `best ${figure(data.metrics.best_f1)}`),
    tile('Cost', priced() ? money(cost(c)) : '\u2013', priced() ? money(cost(c) / rows.length) + ' an image' : 'enter both prices'));
  $('headline').textContent = headline(c);
  $('summary').textContent = `${c.found} of ${defects.length} found \u00b7 ${plural(c.missed, 'escape')} \u00b7 ${plural(c.falseAlarms, 'false alarm')}` +
    (priced() ? ` \u00b7 cost ${money(cost(c))}` : '');
  const sureOf = [];
  if (defects.length) sureOf.push(`${range(interval(c.found, defects.length))} of defects found`);
  if (good.length) sureOf.push(`${range(interval(c.falseAlarms, good.length))} of good parts rejected`);
  $('rates').textContent = `At ${100 * data.confidence} % confidence: ${sureOf.join(', ')}. ` +
    (state.threshold === model ? 'The threshold is the model\u2019s own.' : 'The threshold was moved from the model\u2019s own, ' + exact(model) + '.');
}

function groupTable(title, list, member) {
  const scored = list.map(g => rows.filter(r => isDefect(r) && member(r) === g.name).map(r => r.score).sort((a, b) => a - b));
  const body = html('tbody');
  movers.push(() => body.replaceChildren(...list.map((g, i) => {
    const n = scored[i].length, missed = below(scored[i], state.threshold), bounds = interval(n - missed, n);
    return html('tr', null, html('th', { scope: 'row', title: g.name }, g.name), html('td', null, n + ''), html('td', null, n - missed + ''), html('td', null, missed + ''),
      html('td', null, n ? percent((n - missed) / n) : '\u2013', bounds ? html('span', { class: 'range', 'aria-hidden': 'true' },
        html('i', { style: `left:${100 * bounds[0]}%;right:${100 - 100 * bounds[1]}%` }), html('b', { style: `left:${100 * (n - missed) / n}%` })) : null),
      html('td', null, range(bounds)), html('td', null, figure(g.i_auroc)), html('td', null, percent(g.marked_part_found)), html('td', null, figure(g.mean_score)));
  })));
  const heads = ['', 'defects', 'found', 'missed', 'found, rate', `${100 * data.confidence} % interval`, 'AUROC', 'area found', 'mean score'];
  $('groups').append(html('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': title }, html('table', null, html('caption', null, title),
    html('thead', null, html('tr', null, heads.map(t => html('th', { scope: 'col' }, t)))), body)));
}

function groups() {
  if (!defects.length) { $('groups').append(html('p', { class: 'note' }, 'There is no defective image.')); return; }
  groupTable('By type', data.by_type, r => r.type);
  groupTable('By size: part of the image that is marked', data.by_size, sizeOf);
  $('groups').append(html('p', { class: 'note' }, 'AUROC: these defects against all good images. Area found: the mean part of the marked pixels at or above the model\u2019s pixel threshold, ' + exact(data.model.pixel_threshold) + '.'));
}

function metricsTable() {
  const m = data.metrics, list = [
    ['I-AUROC', 'i_auroc', 'ranking of images by score'], ['AP-det', 'ap_det', 'average precision of the score'],
    ['seg-I-AUROC', 'seg_i_auroc', 'ranking of images by the largest map value'], ['seg-AP-det', 'seg_ap_det', 'average precision of it'],
    ['Best F1', 'best_f1', 'at score threshold ' + (known(m.best_f1_threshold) ? exact(m.best_f1_threshold) : '\u2013')],
    ['P-AUROC', 'p_auroc', 'ranking of pixels'], ['AP-loc', 'ap_loc', 'average precision of pixels'],
    ['AUPRO', 'aupro', 'per-region overlap up to a false-positive rate of 0.3'],
    ['Best pixel F1', 'pixel_best_f1', 'at pixel threshold ' + (known(m.pixel_best_f1_threshold) ? exact(m.pixel_best_f1_threshold) : '\u2013')]];
  const cell = key => data.intervals && data.intervals[key] ? figure(data.intervals[key][0]) + ' to ' + figure(data.intervals[key][1]) : '\u2013';
  $('metrics').append(html('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Metrics' }, html('table', { class: 'words' },
    html('thead', null, html('tr', null, ['', 'value', `${100 * data.confidence} % interval`, 'what'].map(t => html('th', { scope: 'col' }, t)))),
    html('tbody', null, list.map(([name, key, what]) => html('tr', null, html('th', { scope: 'row' }, name), html('td', null, figure(m[key])), html('td', null, cell(key)), html('td', null, what)))))));
}

/* Which rules set the model's thresholds, and on which images; what conformal and budget promise is said with it. */
function chosenBy(c) {
  if (!c) return data.model.regime === 'none' ? 'nothing: the model was not trained' : 'training; the model does not say how';
  const words = { 'above-good': 'just above the largest of good images', given: 'hand', 'zero-escapes': 'the highest that misses no defect', f1: 'best F1',
                  costs: `costs of ${c.escape_cost} an escape and ${c.alarm_cost} a false alarm`,
                  budget: `a budget: ${percent(c.budget)} false alarms at most, with ${percent(c.confidence)} confidence (exact binomial bound)`,
                  conformal: `a conformal quantile: at most ${percent(c.alpha)} false alarms in expectation` };
  const of = rule => words[rule] || rule;
  return `${of(c.rule)}${c.pixel_rule !== c.rule ? '; pixels by ' + of(c.pixel_rule) : ''}` +
    (c.rule === 'given' ? '' : `; on ${c.good} good and ${c.defects} defective images` + (c.trained_on ? ' that it was trained on' : '')) +
    (c.verdict !== 'score' ? `; the verdict is by ${c.verdict}` : '') +
    (c.probability !== 'none' ? `; probabilities by ${c.probability}` : '');
}

function made() {
  const recipe = data.model.header && data.model.header.recipe, d = data.data, section = recipe && recipe.train;
  const facts = [
    ['Model', `${data.model.path}: ${data.model.backbone}, ${data.model.variant}, ${data.model.regime}, input ${data.model.height} x ${data.model.width}`],
    ['Thresholds', `score ${exact(model)}, pixels ${exact(data.model.pixel_threshold)}`],
    ['Chosen by', chosenBy(data.model.header && data.model.header.calibration)],
    ['Data', `${d.path}: layout ${d.layout}${d.category ? ', category ' + d.category : ''}, ${d.split} split; ${d.good} good, ${d.defects} defective (${d.masks} marked), ${d.unknown} unlabelled`],
    ['Split', `fraction ${d.test_fraction}, seed ${d.split_seed}, fold ${d.fold}, where the layout has no split of its own`],
    ['Data fingerprint', d.fingerprint],
    ['Trained on', data.model.header && data.model.header.data_fingerprint || 'nothing'],
    ['Training seed', section && known(section.seed) ? section.seed + '' : '\u2013'],
    ['Program', `blemish ${data.program_version}; the model by ${data.model.header && data.model.header.program_version || '?'}`],
    ['Time', data.time], ['Speed', `${figure(data.metrics.seconds_per_image * 1000, 1)} ms an image, decoding included`]];
  $('made').append(html('dl', { class: 'made' }, facts.map(([name, text]) => [html('dt', null, name), html('dd', null, text)])),
    recipe ? html('details', null, html('summary', null, 'Recipe'), html('pre', { tabindex: 0 }, JSON.stringify(recipe, null, 2))) : html('p', { class: 'note' }, 'The model has no recipe: it was not trained.'));
}

/* ---- gallery ----------------------------------------------------------------------------------------------- */

const IMAGE = 0, TRUTH = 1, OUTLINE = 2, MAP = 3;
const shownRows = rows.filter(r => r.picture !== null);

/* The four panels of an image: itself, what is marked, what was found, both together. */
function panels(r) {
  const p = pictures[r.picture], name = nameOf(r), ratio = `aspect-ratio:${r.width}/${r.height}`;
  const img = (kind, alt) => html('img', { src: p[kind], alt, decoding: 'async' });
  const panel = (what, kind, ...content) => html('span', null, html('span', { class: 'pic ' + kind, style: ratio }, content), html('span', { class: 'what' }, what));
  const truth = p[TRUTH] ? panel('truth', '', img(TRUTH, `${name}: ground truth`))
                         : panel('truth', 'empty', html('span', { class: 'none' }, isDefect(r) ? 'not marked' : 'no defect'));
  return [panel('image', '', img(IMAGE, `${name}: image`)), truth, panel('map', '', img(MAP, `${name}: anomaly map`)),
          panel('overlay', '', img(IMAGE, `${name}: overlay of image, map and marked outline`), img(MAP, ''), p[OUTLINE] ? img(OUTLINE, '') : null)];
}

function card(r, i) {
  const verdict = verdictOf(r), wrong = verdict === 'missed' || verdict === 'alarm', text = `${verdictNames[verdict]}, score ${exact(r.score)}`;
  const size = known(r.defect_area) ? ', ' + percent(r.defect_area) + ' marked' : '';
  return html('li', { class: wrong ? 'wrong' : '' },
    html('button', { type: 'button', class: 'strip', 'aria-label': `Enlarge ${nameOf(r)}: ${text}`, onclick: () => view(i) }, panels(r)),
    html('div', null, html('span', { class: 'tag' }, verdictNames[verdict]), ` ${exact(r.score)} \u00b7 ${r.type}${size}`), html('div', { class: 'name', title: r.path }, shortName(r)));
}

let listed = [];
function showGallery() {
  const chosen = r => (!state.type || r.type === state.type) && (!state.size || isDefect(r) && sizeOf(r) === state.size);
  const tally = list => list.reduce((t, r) => { t.all++; t[verdictOf(r)]++; return t; }, { all: 0, missed: 0, alarm: 0, found: 0, passed: 0 });
  const here = tally(shownRows.filter(chosen)), there = tally(rows.filter(chosen)); /* with a picture, and altogether */
  for (const button of document.querySelectorAll('[data-verdict]')) {
    const key = button.dataset.verdict;
    button.setAttribute('aria-pressed', key === state.verdict);
    button.textContent = { all: 'All', missed: 'Missed defects', alarm: 'False alarms', found: 'Found', passed: 'Passed' }[key] +
      ` ${here[key]}` + (here[key] < there[key] ? ` of ${there[key]}` : '');
  }
  listed = shownRows.filter(r => chosen(r) && (state.verdict === 'all' || verdictOf(r) === state.verdict)).sort((a, b) => wrongness(b) - wrongness(a));
  $('gallery').replaceChildren(...listed.slice(0, state.shown).map(card));
  if (!listed.length) $('gallery').append(html('li', { class: 'note' }, 'No image of this kind.'));
  $('more').hidden = listed.length <= state.shown;
  $('more').textContent = `Show more (${listed.length - state.shown})`;
}

function gallery() {
  const filter = (change) => { change(); state.shown = 24; showGallery(); };
  const choice = (label, key, names) => html('label', null, label + ' ', html('select', { onchange: e => filter(() => { state[key] = e.target.value; }) },
    html('option', { value: '' }, 'all'), names.map(n => html('option', { value: n }, n))));
  $('filters').append(...['all', 'missed', 'alarm', 'found', 'passed'].map(v => html('button', { type: 'button', 'data-verdict': v, onclick: () => filter(() => { state.verdict = v; }) })),
    choice('Type', 'type', [...new Set(shownRows.map(r => r.type))].sort()), choice('Defect size', 'size', sizeNames));
  $('gallery-note').textContent = (shownRows.length < rows.length
    ? `The ${shownRows.length} hardest of ${rows.length} images: the defects of the lowest and the good images of the highest scores. ` : '') +
    'The overlay lays the map over the image; the white line is the marked outline.';
  $('more').addEventListener('click', () => { state.shown += 48; showGallery(); });
}

function view(i) {
  const r = listed[i];
  if (!r) return;
  state.open = i;
  const legend = html('p', { class: 'note' }, 'map 0 ', html('span', { class: 'legend', style: 'background-image:linear-gradient(90deg,#30123b00,#28bceb36 25%,#a4fc3c6c 50%,#fb7e21a2 75%,#7a0403d9)' }), ` 1, here at most ${exact(r.map_max)}`);
  $('viewer-title').textContent = `${verdictNames[verdictOf(r)]} \u00b7 score ${exact(r.score)} \u00b7 ${r.type}${known(r.defect_area) ? ' \u00b7 ' + percent(r.defect_area) + ' marked' : ''} \u00b7 ${r.width} x ${r.height} \u00b7 ${r.path}`;
  const ratio = r.width / r.height, columns = ratio < 0.75 ? 4 : ratio > 3 ? 1 : 2; /* as large as the window allows */
  $('viewer-pictures').setAttribute('style', `--columns:${columns};--rows:${4 / columns};--ratio:${ratio}`);
  $('viewer-pictures').replaceChildren(...panels(r));
  $('viewer-pictures').append(legend);
  $('previous').disabled = i === 0;
  $('next').disabled = i === listed.length - 1;
  if (!$('viewer').open) $('viewer').showModal();
}

/* ---- moving the threshold ---------------------------------------------------------------------------------- */

let later = 0;
function move(t, now) {
  if (!Number.isFinite(t)) return;
  state.threshold = t;
  const step = Math.min(steps.length - 1, below(steps, t));
  if (document.activeElement !== $('slider') || now) $('slider').value = step;
  $('slider').setAttribute('aria-valuetext', exact(t));
  if (document.activeElement !== $('number')) $('number').value = exact(t);
  const c = counts(t);
  showFigures(c);
  movers.forEach(f => f(c));
  clearTimeout(later); /* the gallery is the slow part */
  if (now) showGallery(); else later = setTimeout(showGallery, 120);
}

function presets() {
  const add = (name, find) => $('presets').append(html('button', { type: 'button', onclick: () => { const t = find(); if (known(t)) move(t, true); } }, name));
  add('Model\u2019s own', () => model);
  if (known(data.metrics.best_f1_threshold)) add('Best F1', () => data.metrics.best_f1_threshold);
  if (defects.length) add('No escapes', () => steps.findLast(t => counts(t).missed === 0));
  if (good.length) add('No false alarms', () => steps.find(t => counts(t).falseAlarms === 0));
  add('Cheapest', () => priced() ? steps.reduce((a, b) => cost(counts(b)) < cost(counts(a)) ? b : a) : ($('cost-escape').focus(), null));
}

function start() {
  $('subject').textContent = `blemish report \u00b7 ${data.model.path} on ${data.data.path} \u00b7 ${data.time.replace('T', ' ').replace('Z', ' UTC')}`;
  document.title = `blemish report: ${nameOf(data.model)} on ${data.data.path}`;
  for (const text of data.warnings) $('warnings').append(html('p', { class: 'warning' }, text));
  $('slider').max = steps.length - 1;
  $('slider').addEventListener('input', () => move(steps[$('slider').value]));
  $('number').addEventListener('input', () => { if ($('number').value !== '') move(Number($('number').value)); });
  $('number').addEventListener('blur', () => { $('number').value = exact(state.threshold); });
  ['cost-escape', 'cost-false-alarm'].forEach((id, i) => {
    if (known(state.prices[i])) $(id).value = state.prices[i];
    $(id).addEventListener('input', () => { state.prices[i] = $(id).value === '' ? null : Number($(id).value); showFigures(counts(state.threshold)); });
  });
  presets();
  plots();
  groups();
  metricsTable();
  made();
  gallery();
  $('close').addEventListener('click', () => $('viewer').close());
  $('previous').addEventListener('click', () => view(state.open - 1));
  $('next').addEventListener('click', () => view(state.open + 1));
  $('viewer').addEventListener('click', event => { if (event.target === $('viewer')) $('viewer').close(); });
  $('viewer').addEventListener('keydown', event => {
    if (event.key === 'ArrowLeft') view(state.open - 1);
    if (event.key === 'ArrowRight') view(state.open + 1);
  });
  addEventListener('beforeprint', () => { state.shown = shownRows.length; showGallery(); });
  move(model, true);
}
start();
})();
