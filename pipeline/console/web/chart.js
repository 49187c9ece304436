// The signal of the strongest anomaly with its band (uPlot), and under it, on the same time axis, one lane a stage of the loop.
//
// Its twin for those who do not see a chart is the lists of the story; the lanes carry titles for the pointer.

import { duration, quantity, time } from './format.js'
import { useFresh } from './fresh.js'
import { useEffect, useRef, useState } from './lib/hooks.js'
import htm from './lib/htm.js'
import { h } from './lib/preact.js'
import uPlot from './lib/uplot.js'

const html = htm.bind(h)
const LEAD_MS = 45_000
const TAIL_MS = 20_000
const CHART_HEIGHT = 190
const LANE_HEIGHT = 24
const AXIS_WIDTH = 74
const RIGHT_PADDING = 12

export function Chart({ story, changed }) {
  const { incident, anomalies } = story
  const holder = useRef(null)
  const [width, setWidth] = useState(0)
  const lead = strongest(anomalies, incident.causes[0])
  const fromMs = incident.startedAtMs - LEAD_MS
  const toMs = endOf(story) + TAIL_MS
  const signal = lead && { entity: lead.entity, metric: lead.metric, fromMs, toMs, attributes: JSON.stringify(lead.attributes) }
  const points = useFresh(signal ? `api/series?${new URLSearchParams(signal)}` : null, [], [changed])

  useEffect(() => {
    const observer = new ResizeObserver(entries => setWidth(Math.floor(entries[0].contentRect.width)))
    observer.observe(holder.current)
    return () => observer.disconnect()
  }, [])
  return html`<figure class="chart" ref=${holder}>
    <figcaption>${lead ? html`<b>${lead.metric}</b> of ${lead.entity}${describe(lead.attributes)}: expected ${band(lead)}` : withoutSignal(incident)}</figcaption>
    ${width > 0 && points.length > 1 && lead && html`<${Plot} width=${width} points=${points} anomaly=${lead} fromMs=${fromMs} toMs=${toMs} />`}
    ${width > 0 && html`<${Lanes} width=${width} story=${story} fromMs=${fromMs} toMs=${toMs} />`}
  </figure>`
}

const withoutSignal = ({ causes: [cause] }) => `No numeric signal${cause?.signature === 'silent' ? ': telemetry stopped' : ''}.`

const describe = attributes =>
  Object.keys(attributes).length === 0
    ? ''
    : ` (${Object.entries(attributes)
        .map(([key, value]) => `${key} ${value}`)
        .join(', ')})`
/** What cannot be negative is not expected to be: a band is symmetric, a count is not. */
const band = ({ lower, upper, expected, observed, unit }) => {
  if (lower === null && upper === null) return 'unknown'
  return `${quantity(lower !== null && lower < 0 && expected >= 0 && observed >= 0 ? 0 : lower, unit)} to ${quantity(upper, unit)}`
}

const SEVERITIES = ['info', 'warning', 'critical']

/** The anomaly whose signal tells the story: the worst of the guilty entity, or of anybody where its own telemetry stopped. */
function strongest(anomalies, cause) {
  const numeric = anomalies.filter(anomaly => anomaly.observed !== null)
  const weight = anomaly => SEVERITIES.indexOf(anomaly.severity) * 2 + (anomaly.entity === cause?.entity ? 1 : 0)
  return numeric.toSorted((a, b) => weight(b) - weight(a) || b.score - a.score || a.sinceMs - b.sinceMs)[0]
}

function endOf({ incident, outcomes, decisions }) {
  return Math.max(
    incident.updatedAtMs,
    incident.resolvedAtMs ?? 0,
    ...outcomes.map(outcome => outcome.recordedAtMs),
    ...decisions.map(decision => decision.decidedAtMs)
  )
}

function Plot({ width, points, anomaly, fromMs, toMs }) {
  const element = useRef(null)
  useEffect(() => {
    const style = getComputedStyle(document.documentElement)
    const color = name => style.getPropertyValue(name).trim()
    const axis = { stroke: color('--faint'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false }, font: '11px system-ui' }
    const plot = new uPlot(
      {
        width,
        height: CHART_HEIGHT,
        padding: [8, RIGHT_PADDING, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 } },
        scales: { x: { time: true, range: [fromMs / 1000, toMs / 1000] } },
        axes: [
          { ...axis, values: (_, ticks) => ticks.map(tick => time(tick * 1000)), size: 26, space: 80 },
          { ...axis, size: AXIS_WIDTH, values: (_, ticks) => ticks.map(tick => quantity(tick, anomaly.unit)) }
        ],
        series: [
          {},
          { stroke: 'transparent', points: { show: false } },
          { stroke: 'transparent', points: { show: false } },
          { stroke: color('--signal'), width: 2, points: { show: false } }
        ],
        bands: [{ series: [1, 2], fill: color('--band') }]
      },
      [points.map(point => point.atMs / 1000), points.map(() => anomaly.upper), points.map(() => anomaly.lower), points.map(point => point.value)],
      element.current
    )
    return () => plot.destroy()
  }, [width, points, anomaly, fromMs, toMs])
  return html`<div ref=${element} role="img" aria-label=${`${anomaly.metric} over time`}></div>`
}

function Lanes({ width, story, fromMs, toMs }) {
  const { incident, decisions, outcomes } = story
  const inner = width - AXIS_WIDTH - RIGHT_PADDING
  const x = ms => AXIS_WIDTH + Math.max(0, Math.min(1, (ms - fromMs) / (toMs - fromMs))) * inner
  const lanes = [
    ['anomaly', incident.members.map(member => bar('anomaly', member.sinceMs, member.closedAtMs ?? incident.healedAtMs ?? toMs, member.reason))],
    [
      'decision',
      decisions.map(decision => mark(`decision ${decision.outcome}`, decision.decidedAtMs, `${decision.outcome.replace('_', ' ')}: ${decision.reason}`))
    ],
    [
      'action',
      outcomes.flatMap(outcome =>
        outcome.steps
          .filter(step => step.begunAtMs !== null)
          .map(step =>
            bar('action', step.begunAtMs, step.appliedAtMs ?? step.begunAtMs, `${step.name}: ${step.driver} ${step.verb} ${step.target}, ${step.result}`)
          )
      )
    ],
    [
      'checks',
      outcomes.flatMap(outcome =>
        outcome.steps.flatMap(step => step.checks.map(check => mark(`check ${check.result}`, check.atMs, `${check.name}: ${check.result}, ${check.expect}`)))
      )
    ],
    [
      'verdict',
      [
        ...outcomes.map(outcome => mark(`verdict ${outcome.verdict}`, outcome.recordedAtMs, `${outcome.verdict}: ${outcome.reason}`)),
        ...(incident.healedAtMs === null
          ? []
          : [mark('healed', incident.healedAtMs, `healthy again after ${duration(incident.healedAtMs - incident.startedAtMs)}`)])
      ]
    ]
  ]
  return html`<svg class="lanes" width=${width} height=${lanes.length * LANE_HEIGHT + 4} role="img" aria-label="The loop on the same time axis">
    ${lanes.map(
      ([name, items], index) => html`<g transform=${`translate(0 ${index * LANE_HEIGHT})`}>
        <text x=${AXIS_WIDTH - 10} y="16" text-anchor="end">${name}</text>
        <line x1=${AXIS_WIDTH} x2=${width - RIGHT_PADDING} y1=${LANE_HEIGHT - 1} y2=${LANE_HEIGHT - 1} />
        ${items.map(item => (item.toMs === undefined ? html`<circle class=${item.className} cx=${x(item.fromMs)} cy="11" r="6"><title>${`${time(item.fromMs)}  ${item.title}`}</title></circle>` : html`<rect class=${item.className} x=${x(item.fromMs)} y="5" width=${Math.max(3, x(item.toMs) - x(item.fromMs))} height="12" rx="3"><title>${`${time(item.fromMs)}  ${item.title}`}</title></rect>`))}
      </g>`
    )}
  </svg>`
}

const bar = (className, fromMs, toMs, title) => ({ className, fromMs, toMs, title })
const mark = (className, fromMs, title) => ({ className, fromMs, title })
