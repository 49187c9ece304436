// The page of a backtest: figures, alarms and labels in time, what was missed, and pictures of alarms. One file, nothing loaded.

import type { Alarm } from '../roles/backtest.ts'
import { type Backtest, byMetric, figures } from './backtest-report.ts'
import { formatDuration, formatUtcMinute, formatUtcSecond } from './output.ts'
import type { Picture } from './plot/picture.ts'
import { timeAxis } from './plot/scale.ts'
import { drawSvg, xmlText } from './plot/svg.ts'

const LANES_MAX = 40
const LANE_HEIGHT = 22
const WIDTH = 880
const LANES_LEFT = 230
const LANES_TOP = 12
const RIGHT = 20
const NAME_CHARS_MAX = 32
const TICK_EVERY_PX = 100
const LIST_MAX = 500

const STYLE = `
:root{color-scheme:light dark;--ground:#ffffff;--text:#1f2430;--faint:#5a6270;--line:#e3e6eb;--label:#2f6f9f;--true:#1d7a46;--false:#b02a19}
@media (prefers-color-scheme:dark){:root{--ground:#14171d;--text:#eceff4;--faint:#a3adbd;--line:#2a303b;--label:#6db3e8;--true:#5fce8f;--false:#ff8d7c}}
*{box-sizing:border-box}body{margin:0 auto;max-width:944px;padding:32px;background:var(--ground);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:24px;margin:0 0 16px}h2{font-size:17px;margin:40px 0 10px}p{color:var(--faint);margin:6px 0 14px}
.figures{display:grid;grid-template-columns:max-content 1fr;gap:4px 24px;margin:0}.figures dt{color:var(--faint)}.figures dd{margin:0;font-weight:600}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:5px 14px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--faint);font-weight:500}
.nowrap{white-space:nowrap}.missed,.false{color:var(--false);font-weight:600}.true{color:var(--true);font-weight:600}figure{margin:0 0 28px}figcaption{margin:0 0 4px}svg text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--faint)}
`

/** @param pictures of some alarms, in the order in which they are shown */
export function backtestPage(backtest: Backtest, pictures: readonly { alarm: Alarm; picture: Picture }[]): string {
  const { evaluation } = backtest
  const isLabelled = backtest.labelled !== null
  const title = `Backtest ${formatUtcMinute(backtest.fromMs)} to ${formatUtcMinute(backtest.toMs)} UTC`
  const parts = [
    `<h1>${title}</h1>`,
    `<dl class="figures">${figures(backtest)
      .map(([name, text]) => `<dt>${name}</dt><dd>${xmlText(text)}</dd>`)
      .join('')}</dl>`,
    `<h2>When and where</h2><p>${isLabelled ? 'Bars are labels, ▲ true alarms, ✕ false ones.' : '✕ are alarms; nothing was labelled.'} Entities with the most of both first. Times in UTC.</p><div class="scroll">${lanes(backtest)}</div>`
  ]
  if (evaluation.labels.length > 0) {
    const rows = evaluation.labels
      .slice(0, LIST_MAX)
      .map(label => [
        xmlText(label.name),
        xmlText(label.entities.join(', ')),
        nowrap(formatUtcSecond(label.startMs)),
        formatDuration(label.endMs - label.startMs),
        label.delayMs === null ? '<span class="missed">missed</span>' : nowrap(formatDuration(label.delayMs)),
        String(label.alarms)
      ])
    parts.push('<h2>Labels</h2>', table(['label', 'entity', 'start', 'lasted', 'found after', 'alarms'], rows))
  }
  const rest = byMetric(evaluation.alarms.filter(({ isTrue }) => isTrue !== true))
  if (rest.length > 0) {
    const rows = rest
      .slice(0, LIST_MAX)
      .map(({ alarms, metric, detector, example, at }) => [String(alarms), xmlText(metric), xmlText(detector), xmlText(example), nowrap(at)])
    parts.push(`<h2>${isLabelled ? 'False alarms' : 'Alarms'} by metric</h2>`, table(['alarms', 'metric', 'detector', 'first of', 'at'], rows))
  }
  if (pictures.length > 0)
    parts.push(`<h2>Some of the alarms</h2><p>The first of each metric${isLabelled ? ', false ones before true ones' : ''}.</p>`, ...pictures.map(figure))
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>${title}</title><style>${STYLE}</style></head>
<body>
${parts.join('\n')}
</body></html>
`
}

function figure({ alarm, picture }: { alarm: Alarm; picture: Picture }, index: number): string {
  const verdict = alarm.isTrue === null ? '' : alarm.isTrue ? '<span class="true">true alarm</span> · ' : '<span class="false">false alarm</span> · '
  return `<figure><figcaption>${verdict}${formatUtcSecond(alarm.anomaly.detectedAtMs)} · ${xmlText(alarm.anomaly.detector)}, ${alarm.anomaly.severity}</figcaption>${drawSvg(picture, { id: `alarm-${index}` })}</figure>`
}

const nowrap = (text: string): string => `<span class="nowrap">${text}</span>`

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return `<div class="scroll"><table><thead><tr>${head.map(name => `<th scope="col">${name}</th>`).join('')}</tr></thead><tbody>${rows
    .map(row => `<tr>${row.map(cell => `<td>${cell}</td>`).join('')}</tr>`)
    .join('')}</tbody></table></div>`
}

/** A lane for each entity: its labels and its alarms in time. */
function lanes({ fromMs, toMs, evaluation }: Backtest): string {
  const weights = new Map<string, number>()
  const weigh = (entity: string): void => void weights.set(entity, (weights.get(entity) ?? 0) + 1)
  for (const { entities } of evaluation.labels) entities.forEach(weigh)
  for (const { anomaly } of evaluation.alarms) weigh(anomaly.entity)
  const entities = [...weights]
    .sort(([a, most], [b, other]) => other - most || (a < b ? -1 : 1))
    .slice(0, LANES_MAX)
    .map(([entity]) => entity)
  if (entities.length === 0) return '<p>Neither labels nor alarms.</p>'
  const bottom = LANES_TOP + entities.length * LANE_HEIGHT
  const x = (atMs: number): number =>
    Math.round(LANES_LEFT + ((Math.max(fromMs, Math.min(toMs, atMs)) - fromMs) / (toMs - fromMs)) * (WIDTH - LANES_LEFT - RIGHT))
  const parts: string[] = []
  for (const [index, entity] of entities.entries()) {
    const y = LANES_TOP + index * LANE_HEIGHT
    const middle = y + LANE_HEIGHT / 2
    const name = entity.length > NAME_CHARS_MAX ? `…${entity.slice(-NAME_CHARS_MAX)}` : entity
    parts.push(`<text x="${LANES_LEFT - 12}" y="${middle + 4}" text-anchor="end">${xmlText(name)}</text>`)
    parts.push(`<line x1="${LANES_LEFT}" x2="${WIDTH - RIGHT}" y1="${y + LANE_HEIGHT}" y2="${y + LANE_HEIGHT}" stroke="var(--line)"/>`)
    for (const label of evaluation.labels) {
      if (!label.entities.includes(entity)) continue
      parts.push(
        `<rect x="${x(label.startMs)}" y="${y + 3}" width="${Math.max(3, x(label.endMs) - x(label.startMs))}" height="${LANE_HEIGHT - 6}" fill="var(--label)" fill-opacity=".35"><title>${xmlText(label.name)}</title></rect>`
      )
    }
    for (const { anomaly, isTrue } of evaluation.alarms) {
      if (anomaly.entity !== entity) continue
      const at = x(anomaly.detectedAtMs)
      const path = isTrue === true ? `M${at} ${middle - 5}l5 9h-10z` : `M${at - 4} ${middle - 4}l8 8m0-8l-8 8`
      parts.push(
        `<path d="${path}" ${isTrue === true ? 'fill="var(--true)"' : 'stroke="var(--false)" stroke-width="1.8"'}><title>${formatUtcSecond(anomaly.detectedAtMs)} ${xmlText(anomaly.reason)}</title></path>`
      )
    }
  }
  for (const { at, label } of timeAxis(fromMs, toMs, Math.floor((WIDTH - LANES_LEFT - RIGHT) / TICK_EVERY_PX)).ticks) {
    parts.push(
      `<line x1="${x(at)}" x2="${x(at)}" y1="${bottom}" y2="${bottom + 5}" stroke="var(--faint)"/><text x="${x(at)}" y="${bottom + 19}" text-anchor="middle">${label}</text>`
    )
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + 28}" width="${WIDTH}" height="${bottom + 28}" role="img" aria-label="Labels and alarms of ${entities.length} entities in time" style="max-width:100%;height:auto">${parts.join('')}</svg>`
}
